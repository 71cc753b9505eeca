(* securefl.dp: (epsilon, delta)-differential privacy on finite types, what the ledger
   relies on: post-processing, adaptive composition, more independent noise never hurts.
   The factor a stands for exp(epsilon), so no real exponential is needed.
   Not here: subsampling, the Gaussian, floating point, the accountants' numerics.    *)
From mathcomp Require Import all_ssreflect ssralg ssrnum.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section DP.
Variables (F : realFieldType) (X : Type) (adj : X -> X -> Prop).

Definition mech (O : finType) := X -> O -> F.
Definition is_pmf (O : finType) (p : O -> F) := (forall o, 0 <= p o) /\ \sum_o p o = 1.
Definition Pr (O : finType) (p : O -> F) (S : {set O}) := \sum_(o in S) p o.
Definition dp (O : finType) (a d : F) (M : mech O) :=
  forall x x', adj x x' -> forall S, Pr (M x) S <= a * Pr (M x') S + d.

Lemma dp_pointwise (O : finType) a (M : mech O) :
  (forall x x' o, adj x x' -> M x o <= a * M x' o) -> dp a 0 M.
Proof. by move=> pw x x' xx' S; rewrite addr0 /Pr mulr_sumr; apply: ler_sum => o _; apply: pw. Qed.

(* DP bounds the expectation of every [0,1]-valued test, not only of events. *)
Lemma dp_test (O : finType) a d (M : mech O) : dp a d M -> forall x x', adj x x' ->
  forall f : O -> F, (forall o, 0 <= f o <= 1) ->
  \sum_o M x o * f o <= a * (\sum_o M x' o * f o) + d.
Proof.
move=> Mdp x x' xx' f f01; rewrite -ler_subl_addl mulr_sumr -sumrB.
pose S := [set o | M x o - a * M x' o > 0].
apply: (@le_trans _ _ (Pr (M x) S - a * Pr (M x') S)); last by rewrite ler_subl_addl; apply: Mdp.
rewrite /Pr mulr_sumr -sumrB [X in _ <= X]big_mkcond /=; apply: ler_sum => o _.
rewrite inE mulrA -mulrBl; have /andP[f0 f1] := f01 o.
by case: ltP => [/ltW h|h]; [apply: ler_pimulr | apply: mulr_le0_ge0].
Qed.

(* Randomised post-processing. *)
Definition post (O O' : finType) (K : O -> O' -> F) (M : mech O) : mech O' :=
  fun x o' => \sum_o M x o * K o o'.
Lemma PrK_01 (O O' : finType) (K : O -> O' -> F) S : (forall o, is_pmf (K o)) ->
  forall o, 0 <= Pr (K o) S <= 1.
Proof.
move=> Kp o; have [K0 K1] := Kp o; rewrite sumr_ge0 //= -K1 [X in _ <= X](bigID (mem S)) /=.
by rewrite ler_addl sumr_ge0.
Qed.
Theorem dp_post (O O' : finType) a d (K : O -> O' -> F) (M : mech O) :
  (forall o, is_pmf (K o)) -> dp a d M -> dp a d (post K M).
Proof.
move=> Kp Mdp x x' xx' S.
have E u : Pr (post K M u) S = \sum_o M u o * Pr (K o) S.
  by rewrite /Pr exchange_big; apply: eq_bigr => o _; rewrite mulr_sumr.
by rewrite !E; apply: dp_test => // o; apply: PrK_01.
Qed.

(* Adaptive sequential composition. *)
Definition comp (O1 O2 : finType) (M1 : mech O1) (M2 : O1 -> mech O2) : mech [finType of O1 * O2] :=
  fun x o => M1 x o.1 * M2 o.1 x o.2.
Theorem dp_comp (O1 O2 : finType) a1 d1 a2 d2 (M1 : mech O1) (M2 : O1 -> mech O2) :
  0 <= a1 -> 0 <= a2 -> 0 <= d2 ->
  (forall x, is_pmf (M1 x)) -> (forall o x, is_pmf (M2 o x)) ->
  dp a1 d1 M1 -> (forall o, dp a2 d2 (M2 o)) -> dp (a1 * a2) (d1 + d2) (comp M1 M2).
Proof.
move=> a10 a20 d20 p1 p2 dp1 dp2 x x' xx' S.
pose sec o := [set o2 | (o, o2) \in S]; pose P u o := Pr (M2 o u) (sec o).
have E u : Pr (comp M1 M2 u) S = \sum_o M1 u o * P u o.
  rewrite [RHS](eq_bigr (fun o => \sum_o2 if (o, o2) \in S then M1 u o * M2 o u o2 else 0)).
    by rewrite pair_bigA /Pr [LHS]big_mkcond; apply: eq_bigr => -[].
  by move=> o _; rewrite -big_mkcond mulr_sumr; apply: eq_bigl => o2; rewrite inE.
pose f o := Num.min 1 (a2 * P x' o).
have P01 u o : 0 <= P u o <= 1 by apply: (PrK_01 _ (fun o => p2 o u)).
have f01 o : 0 <= f o <= 1.
  by have /andP[p0 _] := P01 x' o; rewrite /f le_minl lexx le_minr ler01 mulr_ge0.
have step1 : \sum_o M1 x o * P x o <= (\sum_o M1 x o * f o) + d2.
  have -> : d2 = \sum_o M1 x o * d2 by rewrite -mulr_suml (p1 x).2 mul1r.
  rewrite -big_split /=; apply: ler_sum => o _; rewrite -mulrDr ler_wpmul2l ?(p1 x).1 //.
  have /andP[_ P1] := P01 x o; rewrite /f addr_minl le_minr dp2 // andbT.
  by rewrite (le_trans P1) // ler_addl.
rewrite !E (le_trans step1) // addrA ler_add2r (le_trans (dp_test dp1 xx' f01)) // ler_add2r.
rewrite -mulrA ler_wpmul2l // mulr_sumr; apply: ler_sum => o _.
by rewrite mulrCA ler_wpmul2l ?(p1 x').1 // /f le_minl lexx orbT.
Qed.

(* Noise added by other (even malicious, but independent) clients is post-processing. *)
Corollary dp_more_noise (O : finType) (add : O -> O -> O) a d (M : mech O) (p : O -> F) :
  is_pmf p -> dp a d M -> dp a d (post (fun o o' => \sum_(z | add o z == o') p z) M).
Proof.
move=> [p0 p1]; apply: dp_post => o; split=> [o'|]; first by rewrite sumr_ge0.
by rewrite -p1 [RHS](partition_big (add o) predT).
Qed.
End DP.

(* Binary randomised response: tell the truth with probability p >= 1/2. *)
Section RR.
Variables (F : realFieldType) (p : F).
Hypotheses (p_half : 1 - p <= p) (p_lt1 : p < 1).
Definition rr : mech F bool [finType of bool] := fun x o => if o == x then p else 1 - p.
Theorem rr_dp : dp (fun _ _ => True) (p / (1 - p)) 0 rr.
Proof.
have q0 : 0 < 1 - p by rewrite subr_gt0.
apply: dp_pointwise => x x' o _; rewrite /rr.
have le1 : 1 <= p / (1 - p) by rewrite ler_pdivl_mulr ?mul1r.
have p0 : 0 <= p by rewrite (le_trans _ p_half) // ltW.
case: (o == x); case: (o == x').
- exact: ler_pemull.
- by rewrite divfK ?lt0r_neq0.
- by rewrite (le_trans p_half) // ler_pemull.
by rewrite ler_pemull // ltW.
Qed.
End RR.
