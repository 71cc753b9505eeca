(* securefl.crypto.threshold_paillier: t partial decryptions combine to the plaintext.
   The decryption exponent d is the constant term of an integer polynomial of degree below
   t, known modulo the order; party i (1 <= i <= parties) has its value at i. With
   Delta = parties!, Delta times every Lagrange coefficient is an integer, so the
   combination needs no division in the exponent. [Sho00], [DJ01]
   Correctness only: not that t - 1 shares hide d, and not the proofs of correctness.  *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ssrint rat poly intdiv zmodp.
From mathcomp Require Import zify.
From SecureFL Require Import Shamir Paillier.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Integrality.
Variable n : nat.                                  (* parties *)
Implicit Types (S : {set 'I_n}) (i j : 'I_n).

Definition point i : int := Posz i.+1.
Definition delta : int := Posz n`!.
Definition denominator S i : int := \prod_(j in S :\ i) (point i - point j).
(* threshold_paillier._lagrange: the division is exact. *)
Definition lagrange_integer S i : int :=
  ((delta * \prod_(j in S :\ i) - point j) %/ denominator S i)%Z.

Lemma prod_fact m : (\prod_(0 <= k < m) k.+1 = m`!)%N.
Proof. by elim: m => [|m IH]; rewrite ?big_nil // big_nat_recr //= IH factS mulnC. Qed.

Lemma prod_distances i : (\prod_(j : 'I_n | j != i) `|point i - point j| = i`! * (n - i.+1)`!)%N.
Proof.
rewrite -(big_mkord (fun j : nat => j != i :> nat) (fun j : nat => `|Posz i.+1 - Posz j.+1|%N)).
have iN := ltn_ord i; rewrite (big_cat_nat _ (n := i)) //=; last exact: ltnW.
rewrite [X in (_ * X)%N]big_ltn_cond // eqxx /=; congr (_ * _)%N.
  rewrite -[RHS]prod_fact big_nat_rev /= big_nat_cond [RHS]big_nat_cond.
  by apply: eq_big => j; lia.
rewrite -[RHS]prod_fact -{1}[i.+1]add0n big_addn big_nat_cond [RHS]big_nat_cond.
by apply: eq_big => j; lia.
Qed.

Lemma denominator_dvd S i : (denominator S i %| delta)%Z.
Proof.
rewrite dvdzE /denominator /delta /=.
rewrite (big_morph absz abszM (absz1 : `|1%:Z|%N = 1%N)).
apply: (@dvdn_trans (\prod_(j : 'I_n | j != i) `|point i - point j|)%N).
  rewrite [X in (_ %| X)%N](bigID (mem S)) /=.
  rewrite (eq_bigl (fun j => (j != i) && (j \in S))); first exact: dvdn_mulr.
  by move=> j; rewrite !inE.
rewrite prod_distances; have iN := ltn_ord i.
have n0 : (0 < n)%N by apply: leq_ltn_trans iN.
have -> : n`! = (n * ('C(n.-1, i) * (i`! * (n.-1 - i)`!)))%N.
  by rewrite bin_fact; [rewrite -{1}(prednK n0) factS prednK | rewrite -ltnS prednK].
have -> : (n.-1 - i = n - i.+1)%N by lia.
by rewrite dvdn_mull // dvdn_mull.
Qed.

Lemma denominator_neq0 S i : denominator S i != 0.
Proof.
apply/prodf_neq0 => j; rewrite !inE => /andP[ji _].
by rewrite subr_eq0 /point; apply: contra ji => /eqP[e]; apply/eqP/val_inj.
Qed.

Lemma lagrange_integerE S i : (lagrange_integer S i)%:~R =
  delta%:~R * \prod_(j in S :\ i) ((point j)%:~R / ((point j)%:~R - (point i)%:~R)) :> rat.
Proof.
have exact : lagrange_integer S i * denominator S i = delta * \prod_(j in S :\ i) - point j.
  by rewrite /lagrange_integer divzK // dvdz_mulr // denominator_dvd.
have dn0 : (denominator S i)%:~R != 0 :> rat by rewrite intr_eq0 denominator_neq0.
apply: (mulIf dn0); rewrite -rmorphM exact rmorphM -mulrA; congr (_ * _) => /=.
rewrite /denominator !rmorph_prod -big_split /=; apply: eq_bigr => j.
rewrite !inE => /andP[ji _]; rewrite rmorphB rmorphN /= -[_ - (point j)%:~R]opprB mulrN divfK //.
by rewrite subr_eq0 (inj_eq (intr_inj)); apply: contra ji => /eqP[e]; apply/eqP/val_inj.
Qed.

(* Interpolation at 0 over the integers, scaled by Delta. *)
Theorem interpolation_integer S (f : {poly int}) : (size f <= #|S|)%N ->
  \sum_(i in S) lagrange_integer S i * f.[point i] = delta * f.[0].
Proof.
move=> sf; apply: (@intr_inj [numDomainType of rat]).
pose a i : rat := (point i)%:~R.
have aI : {in S &, injective a} by move=> i j _ _ /intr_inj[] /val_inj.
have sf' : (size (map_poly intr f : {poly rat}) <= #|S|)%N by rewrite (leq_trans (size_poly _ _)).
rewrite rmorphM /= -horner_map /= rmorph0 -(shamir_correct aI sf' (leqnn _)) mulr_sumr rmorph_sum /=.
apply: eq_bigr => i _; rewrite rmorphM /= lagrange_integerE -horner_map /= -mulrA.
by congr (_ * _); rewrite mulrC.
Qed.
End Integrality.

Section Exponents.
Variables (U : comUnitRingType) (n : nat) (c : U) (order : int).
Hypotheses (c_unit : c \is a GRing.unit) (c_order : c ^ (2%:Z * order) = 1).

(* threshold_paillier.combine on the results of partially_decrypt. *)
Definition combined (S : {set 'I_n}) (share : 'I_n -> int) : U :=
  \prod_(i in S) (c ^ (2%:Z * delta n * share i)) ^ (2%:Z * lagrange_integer S i).

Theorem combined_power (S : {set 'I_n}) (f : {poly int}) (share k : 'I_n -> int) : (size f <= #|S|)%N ->
  (forall i, share i = f.[point i] + order * k i) ->
  combined S share = c ^ (4%:Z * delta n ^+ 2 * f.[0]).
Proof.
move=> sf shareE; rewrite /combined.
rewrite (eq_bigr (fun i => c ^ (2%:Z * delta n * share i * (2%:Z * lagrange_integer S i)))); last first.
  by move=> i _; rewrite exprz_exp.
rewrite -(big_morph (fun z : int => c ^ z) (exprzDr c_unit) (expr0z c)).
have -> : \sum_(i in S) 2%:Z * delta n * share i * (2%:Z * lagrange_integer S i) =
          4%:Z * delta n * (delta n * f.[0]) +
          2%:Z * order * \sum_(i in S) 2%:Z * delta n * lagrange_integer S i * k i.
  rewrite -(interpolation_integer sf) !mulr_sumr -big_split /=; apply: eq_bigr => i _.
  by rewrite shareE; lia.
by rewrite exprzDr // -[c ^ (2%:Z * order * _)]exprz_exp c_order exp1rz mulr1 expr2 !mulrA.
Qed.
End Exponents.

Lemma eq_mod_Zp N a b : (1 < N)%N -> (a = b %[mod N])%N -> a%:R = b%:R :> 'Z_N.
Proof. by move=> N1 ab; apply/val_inj; rewrite /= !val_Zp_nat. Qed.

(* The key of deal: p = 2 p' + 1 and q = 2 q' + 1, shares known modulo n p' q', d = 0 modulo
   p' q' and 1 modulo n. Any set S of at least t parties opens the sum.                 *)
Theorem threshold_decrypt (parties p q p' q' d unscale : nat) (S : {set 'I_parties})
    (f : {poly int}) (share k : 'I_parties -> int) (mr : seq (nat * nat)) :
  prime p -> prime q -> p != q -> p.-1 = (2 * p')%N -> q.-1 = (2 * q')%N ->
  (size f <= #|S|)%N -> f.[0] = Posz d -> (p' * q' %| d)%N -> (d = 1 %[mod p * q])%N ->
  (forall i, share i = f.[point i] + Posz (p * q * (p' * q')) * k i) ->
  (4 * parties`! ^ 2 * unscale = 1 %[mod p * q])%N ->
  all (fun c => coprime c.2 (p * q)) mr ->
  let c := agg (p * q) [seq enc (p * q) c.1 c.2 | c <- mr] in
  let total := combined (c%:R : 'Z_((p * q) * (p * q))) S share in
  ((L (p * q) (val total) * unscale) %% (p * q) = sumn [seq c.1 | c <- mr] %% (p * q))%N.
Proof.
move=> pp pq npq p'E q'E sf f0 dvd d1 shareE unP cop; set n := (p * q)%N in cop shareE d1 unP *.
have n1 : (1 < n)%N := n_gt1 pp pq; have N1 : (1 < n * n)%N by rewrite -[1%N]muln1 ltn_mul.
move=> c total; have [r [rn cE]] := agg_enc n1 cop; rewrite -/c in cE; clearbody c.
have lamP x K : coprime x n -> (p' * q' %| K)%N -> (x ^ (n * (2 * K)) = 1 %[mod n * n])%N.
  move=> xn /dvdnP[K' ->]; apply: (lam_carmichael pp pq npq) => //.
    by rewrite p'E dvdn_pmul2l // mulnCA dvdn_mulr.
  by rewrite q'E dvdn_pmul2l // mulnA dvdn_mull.
have c_cop : coprime c (n * n).
  rewrite cE /enc coprime_modl coprimeMr andbb coprimeMl coprimeXl // andbT.
  by rewrite -coprime_modl addnC modnMDl coprime_modl coprime1n.
have c_unit : (c%:R : 'Z_(n * n)) \is a GRing.unit by rewrite unitZpE // coprime_sym.
have c_n : coprime c n by move: c_cop; rewrite coprimeMr => /andP[].
have c_order : (c%:R : 'Z_(n * n)) ^ (2%:Z * Posz (n * (p' * q'))) = 1.
  rewrite -PoszM -exprnP -natrX; apply: (@eq_mod_Zp _ _ 1) => //.
  by rewrite mulnCA; apply: lamP.
have -> : val total = (c ^ (4 * parties`! ^ 2 * d) %% (n * n))%N.
  rewrite /total (combined_power c_unit c_order sf shareE) f0 /delta expr2 -!PoszM -exprnP -natrX.
  by rewrite /= val_Zp_nat // mulnn.
rewrite -[LHS]/(dec n (4 * parties`! ^ 2 * d) unscale c) cE; apply: dec_enc => //.
  move=> x xn; rewrite (_ : 4 * _ * d = 2 * (2 * parties`! ^ 2 * d))%N; last by lia.
  by apply: lamP => //; apply: dvdn_mull.
by rewrite -mulnA [(d * _)%N]mulnC mulnA -modnMmr d1 modnMmr muln1.
Qed.
