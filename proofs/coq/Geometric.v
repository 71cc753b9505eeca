(* The geometric mechanism (discrete Laplace) with its normaliser. al = exp(-epsilon / D).
   On the integers the mass of z is (1 - al) / (1 + al) * al^|z|, and [-N, N] holds all of
   it but exactly 2 al^(N+1) / (1 + al). Clamped to a finite range, the two end points take
   the tails, and the mechanism is (al^-D, 0)-differentially private for queries that
   differ by at most D. [GRS12]
   Not here: a sampler.                                                               *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ssrint zify.
From SecureFL Require Import DifferentialPrivacy.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Geometric.
Variables (F : realFieldType) (al : F).
Hypotheses (al0 : 0 < al) (al1 : al < 1).

Lemma norm_gt0 : 0 < 1 + al. Proof. by rewrite addr_gt0 // ltr01. Qed.
Lemma norm_neq0 : 1 + al != 0. Proof. by rewrite lt0r_neq0 // norm_gt0. Qed.

Definition geometric_mass (z : int) : F := (1 - al) / (1 + al) * al ^+ absz z.

(* One side of the query, as a telescope. *)
Lemma side k : al ^+ k.+1 + \sum_(i < k) (1 - al) * al ^+ i.+1 = al.
Proof.
elim: k => [|k IH]; first by rewrite big_ord0 addr0 expr1.
by rewrite big_ord_recr /= mulrBl mul1r -exprS addrCA [_ + (_ - _)]addrC subrK addrC.
Qed.

Theorem geometric_normaliser N :
  geometric_mass 0 + \sum_(i < N) (geometric_mass (Posz i.+1) + geometric_mass (- Posz i.+1)) =
    1 - (al ^+ N.+1 *+ 2) / (1 + al).
Proof.
set c := (1 - al) / (1 + al); set f := fun i : nat => (1 - al) * al ^+ i.+1.
have -> : \sum_(i < N) (geometric_mass (Posz i.+1) + geometric_mass (- Posz i.+1)) =
          (\sum_(i < N) f i) *+ 2 / (1 + al).
  rewrite -sumrMnl mulr_suml; apply: eq_bigr => i _.
  by rewrite /geometric_mass abszN /= -mulr2n /f mulrAC mulrnAl.
have -> : \sum_(i < N) f i = al - al ^+ N.+1 by apply/eqP; rewrite eq_sym subr_eq addrC side.
rewrite /geometric_mass /= expr0 mulr1 /c -mulrDl; apply: (canLR (mulfK norm_neq0)).
by rewrite mulrBl mul1r divfK ?norm_neq0 // mulrnBl addrA; congr (_ - _); rewrite mulr2n addrA subrK.
Qed.

(* Distance of naturals. *)
Definition dist (m n : nat) := (m - n + (n - m))%N.

(* Outcomes and queries in 0..M+1; the end points have no factor 1 - al. *)
Variable M : nat.
Definition weight (o : nat) : F := if (o == 0)%N || (o == M.+1)%N then 1 else 1 - al.
Definition clamped (q o : 'I_M.+2) : F := weight o * al ^+ dist o q / (1 + al).

Lemma weight_ge0 o : 0 <= weight o.
Proof. by rewrite /weight; case: ifP; rewrite ?ler01 // subr_ge0 ltW. Qed.

Lemma sum_below k : (k < M.+1)%N -> \sum_(0 <= o < k.+1) weight o * al ^+ dist o k.+1 = al.
Proof.
move=> kM; rewrite big_nat_recl // /weight /= mul1r -[RHS](side k); congr (_ + _).
rewrite big_mkord (reindex_inj rev_ord_inj) /=; apply: eq_bigr => i _.
have ik := ltn_ord i; have -> : ((k - i.+1).+1 == M.+1) = false by lia.
by congr (_ * _ ^+ _); rewrite /dist; lia.
Qed.

Lemma sum_above q k : (q + k = M)%N -> \sum_(q.+1 <= o < M.+2) weight o * al ^+ dist o q = al.
Proof.
move=> qk; rewrite -[M.+2](_ : k.+1 + q.+1 = M.+2)%N; last by lia.
rewrite -{1}[q.+1]add0n big_addn addnK.
rewrite big_nat_recr //= addrC -[RHS](side k); congr (_ + _).
  rewrite /weight (_ : (k + q.+1 == M.+1)%N) ?orbT ?mul1r; last by lia.
  by congr (_ ^+ _); rewrite /dist; lia.
rewrite big_mkord; apply: eq_bigr => i _; have ik := ltn_ord i.
rewrite /weight addnS /= (_ : ((i + q).+1 == M.+1) = false); last by lia.
by congr (_ * _ ^+ _); rewrite /dist; lia.
Qed.

Theorem clamped_pmf q : is_pmf (clamped q).
Proof.
split=> [o|]; first by rewrite !mulr_ge0 ?weight_ge0 ?exprn_ge0 ?invr_ge0 // ltW // norm_gt0.
rewrite /clamped -mulr_suml; apply: (canLR (mulfK norm_neq0)); rewrite mul1r.
rewrite -(big_mkord predT (fun o => weight o * al ^+ dist o q)).
have qM := ltn_ord q; rewrite (big_cat_nat _ (n := q)) //=; last exact: ltnW.
rewrite [X in _ + X]big_ltn // {2}/dist subnn addn0 expr0 mulr1.
have [q0|q0] := posnP q.
  by rewrite q0 big_geq // add0r (sum_above (k := M)) ?add0n //.
have -> : \sum_(0 <= o < q) weight o * al ^+ dist o q = al.
  by rewrite -(prednK q0) sum_below // prednK.
have [qM1|qM1] := eqVneq (q : nat) M.+1.
  by rewrite qM1 [X in _ + (_ + X)]big_geq // addr0 /weight eqxx orbT addrC.
rewrite (@sum_above q (M - q)); last by lia.
by rewrite /weight -[_ == 0%N]negbK -lt0n q0 (negPf qM1) /= subrK addrC.
Qed.

Theorem clamped_dp D : dp (fun q q' : 'I_M.+2 => (dist q q' <= D)%N) (al ^- D) 0 clamped.
Proof.
apply: dp_pointwise => q q' o qq'; rewrite /clamped [X in _ <= X]mulrA.
apply: ler_wpmul2r; first by rewrite invr_ge0 ltW ?norm_gt0.
rewrite [X in _ <= X]mulrCA; apply: ler_wpmul2l; first exact: weight_ge0.
rewrite ler_pdivl_mull ?exprn_gt0 // -exprD.
by apply: ler_wiexpn2l; [exact: ltW|exact: ltW|rewrite /dist in qq' *; lia].
Qed.
End Geometric.
