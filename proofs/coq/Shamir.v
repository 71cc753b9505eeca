(* securefl.crypto.shamir over any field: t shares give the secret, t - 1 shares
   have the same distribution for every secret. [Sha79]
   The executable modular version is ShamirExec.v, tied to this by
   ShamirRefine.v. Not here: that shares travel encrypted and authenticated.    *)
From mathcomp Require Import all_ssreflect ssralg poly finalg matrix mxpoly zmodp.
From SecureFL Require Import Fibre.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Lagrange.
Variables (F : fieldType) (I : finType) (a : I -> F).
Implicit Types (S : {set I}) (p : {poly F}) (y : I -> F).

Definition lcoef S (i : I) (z : F) : F := \prod_(j in S :\ i) ((z - a j) / (a i - a j)).
Definition lagrange S y : {poly F} :=
  \sum_(i in S) y i *: \prod_(j in S :\ i) ((a i - a j)^-1 *: ('X - (a j)%:P)).

Lemma horner_lagrange S y z : (lagrange S y).[z] = \sum_(i in S) y i * lcoef S i z.
Proof.
rewrite /lagrange horner_sum; apply: eq_bigr => i _; rewrite hornerZ; congr (_ * _).
rewrite horner_prod; apply: eq_bigr => j _.
by rewrite hornerZ !hornerE mulrC.
Qed.

Lemma size_lagrange S y : (size (lagrange S y) <= #|S|)%N.
Proof.
apply: leq_trans (size_sum _ _ _) _; apply/bigmax_leqP => i iS.
apply: leq_trans (size_scale_leq _ _) _.
apply: leq_trans (size_prod_leq _ _) _.
rewrite (cardsD1 i S) iS add1n leq_subLR addnS ltnS.
apply: leq_trans (_ : \sum_(j in S :\ i) 2 <= _)%N; last by rewrite sum_nat_const muln2 addnn.
by apply: leq_sum => j _; apply: leq_trans (size_scale_leq _ _) _; rewrite size_XsubC.
Qed.

Lemma lcoef_node S i j : {in S &, injective a} -> i \in S -> j \in S -> lcoef S i (a j) = (i == j)%:R.
Proof.
move=> aI iS jS; rewrite /lcoef; have [->|ij] := eqVneq i j.
  apply: big1 => k; rewrite !inE => /andP[kj kS]; apply: divff.
  by rewrite subr_eq0 (inj_in_eq aI) // eq_sym.
by rewrite (bigD1 j) /= ?subrr ?mul0r // !inE eq_sym ij jS.
Qed.

Lemma lagrange_node S y j : {in S &, injective a} -> j \in S -> (lagrange S y).[a j] = y j.
Proof.
move=> aI jS; rewrite horner_lagrange (bigD1 j) //= lcoef_node // eqxx mulr1 big1 ?addr0 // => i.
by case/andP=> iS /negPf ij; rewrite lcoef_node // ij mulr0.
Qed.

(* Uniqueness of interpolation: any #|S| distinct nodes determine p. *)
Theorem interpolation S p : {in S &, injective a} -> (size p <= #|S|)%N ->
  lagrange S (fun i => p.[a i]) = p.
Proof.
move=> aI sp; apply/eqP; rewrite -subr_eq0; apply/eqP.
apply: (@roots_geq_poly_eq0 _ _ [seq a i | i <- enum S]).
- apply/allP=> _ /mapP[i iS ->]; rewrite mem_enum in iS.
  by rewrite /root hornerD hornerN lagrange_node // subrr.
- by rewrite map_inj_in_uniq ?enum_uniq // => i j; rewrite !mem_enum; apply: aI.
rewrite size_map -cardE; apply: leq_trans (size_add _ _) _.
by rewrite geq_max size_lagrange size_opp.
Qed.

(* Any set S of at least t shares reconstructs the secret p.[0]. *)
Theorem shamir_correct t S p : {in S &, injective a} -> (size p <= t)%N -> (t <= #|S|)%N ->
  \sum_(i in S) p.[a i] * \prod_(j in S :\ i) (a j / (a j - a i)) = p.[0].
Proof.
move=> aI sp tS; rewrite -[in RHS](interpolation aI (leq_trans sp tS)) horner_lagrange.
apply: eq_bigr => i _; congr (_ * _); apply: eq_bigr => j _.
by rewrite sub0r -[a i - a j]opprB invrN mulrNN.
Qed.

(* Linearity: shares may be added before reconstruction. *)
Theorem shamir_additive t S (p q : {poly F}) : {in S &, injective a} ->
  (size p <= t)%N -> (size q <= t)%N -> (t <= #|S|)%N ->
  \sum_(i in S) (p.[a i] + q.[a i]) * \prod_(j in S :\ i) (a j / (a j - a i)) = p.[0] + q.[0].
Proof.
move=> aI sp sq tS; rewrite -hornerD -(shamir_correct aI _ tS); first by apply: eq_bigr => i _; rewrite hornerD.
by apply: leq_trans (size_add _ _) _; rewrite geq_max sp.
Qed.
End Lagrange.

Section Privacy.
Variables (F : finFieldType) (I : finType) (a : I -> F) (t' : nat).
Local Notation t := t'.+1.                       (* threshold *)
Hypothesis a_inj : injective a.
Hypothesis a_neq0 : forall i, a i != 0.

(* dealer's polynomial: secret s, uniformly random coefficients r of degree 1..t-1 *)
Definition dealer (s : F) (r : 'rV[F]_t') : {poly F} := s%:P + 'X * rVpoly r.
Lemma dealer_secret s r : (dealer s r).[0] = s.
Proof. by rewrite /dealer !hornerE ?mul0r ?addr0. Qed.
Lemma dealer_size s r : (size (dealer s r) <= t)%N.
Proof.
apply: leq_trans (size_add _ _) _; rewrite geq_max (leq_trans (size_polyC_leq1 _)) //=.
apply: leq_trans (size_mul_leq _ _) _; rewrite size_polyX /= ltnS; exact: size_poly.
Qed.

Variable C : {set I}.                            (* corrupted share holders *)
Hypothesis C_small : (#|C| <= t')%N.             (* at most t - 1 of them *)

Definition shares s r : {ffun I -> F} := [ffun i => if i \in C then (dealer s r).[a i] else 0].

Definition ev_fun (r : 'rV[F]_t') : {ffun I -> F} :=
  [ffun i => if i \in C then a i * (rVpoly r).[a i] else 0].
Lemma ev_is_additive : additive ev_fun.
Proof.
move=> r r'; apply/ffunP=> i; rewrite !ffunE; case: ifP; rewrite ?subr0 // => _.
by rewrite raddfB hornerD hornerN mulrBr.
Qed.
Canonical ev := Additive ev_is_additive.

Theorem shamir_private s s' v : #|[set r | shares s r == v]| = #|[set r | shares s' r == v]|.
Proof.
pose x u : {ffun I -> F} := [ffun i => if i \in C then u else 0].
have shE u r : shares u r = x u + ev r.
  by apply/ffunP=> i; rewrite !ffunE; case: ifP; rewrite ?addr0 // !hornerE.
have H u : #|[set r | shares u r == v]| = #|views ev (x u) v|.
  by apply: eq_card => r; rewrite !inE shE.
rewrite !H; apply: perfect_hiding.
pose q := lagrange a C (fun i => (s' - s) / a i).
exists (poly_rV q); apply/ffunP=> i; rewrite !ffunE; case: ifP => iC; last by rewrite subr0.
rewrite poly_rV_K ?(leq_trans (size_lagrange _ _ _)) // lagrange_node //; last by move=> ? ? _ _; apply: a_inj.
by rewrite mulrC divfK.
Qed.
End Privacy.
