(* securefl.secagg.masking with masks from a generator instead of uniform ones.
   Randomness: an independent uniform seed for each pair of honest clients and for
   each self mask; G expands a seed. The adversary (operator and corrupted clients)
   sees every honest upload, late ones included, and every seed that dropout
   recovery or corruption reveals, and is any function of that view to [0, 1] (or
   to any ordered field). It tells x from x' with advantage at most the sum of the
   generator's advantages over the seeds that stay hidden, once for each input, so
   at most twice that sum; the reductions are explicit definitions.
   Not here: key exchange (seeds are ideal), a reveal set chosen from the uploads
   (it is fixed in advance), any notion of running time.                        *)
From mathcomp Require Import all_ssreflect ssralg ssrnum finalg zmodp.
From SecureFL Require Import Fibre Hiding Average.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Hybrid.
Variables (F : realFieldType) (E Seed R : finType) (G : Seed -> R) (k0 : Seed).
Variable known_at : pred E.                            (* indices whose seed is revealed *)

(* What a distinguisher B with coins (k, s) gains from one output of G against one
   uniform value. The hypothesis of a bound must be on the specific reductions below:
   no generator fools every function.                                              *)
Definition generator_advantage (B : {ffun E -> Seed} -> {ffun E -> R} -> R -> F) :=
  `| avg (fun k => avg (fun s => avg (fun v => B k s (G v)))) -
     avg (fun k => avg (fun s => avg (fun r => B k s r))) |.

Definition revealed (k : {ffun E -> Seed}) : {ffun E -> option Seed} :=
  [ffun e => if known_at e then Some (k e) else None].
(* The n-th hybrid: of the hidden indices, the first n use uniform masks. *)
Definition mix (n : nat) (k : {ffun E -> Seed}) (s : {ffun E -> R}) : {ffun E -> R} :=
  [ffun e => if known_at e then G (k e) else if (enum_rank e < n)%N then s e else G (k e)].
Variable D : {ffun E -> option Seed} -> {ffun E -> R} -> F.

Definition real := avg (fun k => D (revealed k) [ffun e => G (k e)]).
Definition ideal := avg (fun k => avg (fun s => D (revealed k) (mix #|E| k s))).
(* The reduction at index e: it places its challenge r there. *)
Definition reduction (e : E) (k : {ffun E -> Seed}) (s : {ffun E -> R}) (r : R) :=
  D (revealed k) (upd (mix (enum_rank e) k s) e r).
Definition hyb i := avg (fun k => avg (fun s => D (revealed k) (mix i k s))).

Lemma reduction_prg e : ~~ known_at e ->
  avg (fun k => avg (fun s => avg (fun v => reduction e k s (G v)))) = hyb (enum_rank e).
Proof.
move=> /negPf Ke; rewrite /hyb avg_swap [RHS]avg_swap; apply: eq_avg => s.
rewrite -(avg_resample e (fun k => D (revealed k) (mix (enum_rank e) k s)) k0).
apply: eq_avg => k; apply: eq_avg => v; congr (D _ _); apply/ffunP=> e'; rewrite !ffunE.
  by case: eqP => [->|//]; rewrite Ke.
by case: eqP => [->|//]; rewrite Ke ltnn.
Qed.

Lemma reduction_rnd e : ~~ known_at e ->
  avg (fun k => avg (fun s => avg (fun r => reduction e k s r))) = hyb (enum_rank e).+1.
Proof.
move=> /negPf Ke; apply: eq_avg => k.
rewrite -(avg_resample e (fun s => D (revealed k) (mix (enum_rank e).+1 k s)) (G k0)).
apply: eq_avg => s; apply: eq_avg => r; congr (D _ _).
apply/ffunP=> e'; rewrite !ffunE; case: eqP => [->|/eqP ne]; first by rewrite Ke ltnSn.
by rewrite ltnS [in RHS]leq_eqVlt (inj_eq (@ord_inj _)) (inj_eq enum_rank_inj) (negPf ne).
Qed.

Lemma hyb_known e : known_at e -> hyb (enum_rank e) = hyb (enum_rank e).+1.
Proof.
move=> Ke; apply: eq_avg => k; apply: eq_avg => s; congr (D _ _); apply/ffunP=> e'; rewrite !ffunE.
have [->|ne] := eqVneq e' e; first by rewrite Ke.
by rewrite ltnS [in RHS]leq_eqVlt (inj_eq (@ord_inj _)) (inj_eq enum_rank_inj) (negPf ne).
Qed.

Theorem hybrid_revealed : `| real - ideal | <= \sum_(e | ~~ known_at e) generator_advantage (reduction e).
Proof.
have -> : real = hyb 0.
  apply: eq_avg => k; rewrite -[LHS](avg_const ([ffun=> G k0] : {ffun E -> R})).
  by apply: eq_avg => s; congr (D _ _); apply/ffunP=> e; rewrite !ffunE if_same.
rewrite -[ideal]/(hyb #|E|) distrC -(telescope_sumr _ (leq0n _)) big_mkord.
apply: le_trans (ler_norm_sum _ _ _) _.
rewrite (reindex enum_rank) /=; last by exists enum_val => i _; rewrite ?enum_rankK ?enum_valK.
rewrite [X in _ <= X]big_mkcond; apply: ler_sum => e _; case: ifP => Ke.
  by rewrite /generator_advantage reduction_prg // reduction_rnd // distrC.
by rewrite hyb_known ?subrr ?normr0 // -[known_at e]negbK Ke.
Qed.
End Hybrid.

(* The protocol: T clients, E pairs, seeds for both kinds of masks. *)
Section Round.
Variables (F : realFieldType) (T E Seed : finType) (src tgt : E -> T) (R : finZmodType).
Variables (G : Seed -> R) (k0 : Seed).
Variables (K : pred E) (A : {set T}).   (* revealed pairwise seeds; revealed self-mask seeds *)
Local Notation J := (E + T)%type.
Definition known (j : J) := match j with inl e => K e | inr i => i \in A end.
Definition uploads (x : {ffun T -> R}) (m : {ffun J -> R}) : {ffun T -> R} :=
  x + ([ffun i => m (inr i)] + boundary src tgt R [ffun e => m (inl e)]).

Variable Adv : {ffun T -> R} -> {ffun J -> option Seed} -> F.
Definition game x := real G known (fun rv m => Adv (uploads x m) rv).
Definition exposedT := exposed src tgt K A.
Definition same_exposed_sums x x' :=
  forall i, exposedT i -> component_sum src tgt (predC K) x i = component_sum src tgt (predC K) x' i :> R.

(* the part of the masks the adversary does not know *)
Definition hid_fun (s : {ffun J -> R}) : {ffun T -> R} :=
  [ffun i => if i \in A then 0 else s (inr i)] + boundary src tgt R [ffun e => if K e then 0 else s (inl e)].
Lemma hid_is_additive : additive hid_fun.
Proof.
move=> s s'; rewrite /hid_fun opprD addrACA -(raddfB (boundary src tgt R)); congr (_ + _);
  last apply: (congr1 (boundary_fun src tgt (R := R))).
  by apply/ffunP=> i; rewrite !ffunE; case: ifP; rewrite ?subrr.
by apply/ffunP=> e; rewrite !ffunE; case: ifP; rewrite ?subrr.
Qed.
Canonical hid := Additive hid_is_additive.

Lemma uploads_mix x k s : uploads x (mix G known #|[finType of J]| k s) =
  uploads x [ffun j => if known j then G (k j) else 0] + hid s.
Proof.
rewrite /uploads -addrA; congr (_ + _); rewrite addrACA -(raddfD (boundary src tgt R)).
congr (_ + _); last apply: (congr1 (boundary_fun src tgt (R := R))).
  by apply/ffunP=> i; rewrite !ffunE /= ltn_ord; case: ifP; rewrite ?addr0 ?add0r.
by apply/ffunP=> e; rewrite !ffunE /= ltn_ord; case: ifP; rewrite ?addr0 ?add0r.
Qed.

Lemma ideal_eq x x' : same_exposed_sums x x' ->
  ideal G known (fun rv m => Adv (uploads x m) rv) = ideal G known (fun rv m => Adv (uploads x' m) rv).
Proof.
move=> xx'; apply: eq_avg => k; rewrite /avg; congr (_ * _).
set c := [ffun j => if known j then G (k j) else 0].
have P u : \sum_s Adv (uploads u (mix G known #|[finType of J]| k s)) (revealed known k) =
           \sum_y Adv y (revealed known k) *+ #|views hid (uploads u c) y|.
  rewrite (partition_big (fun s => uploads u c + hid s) predT) //=; apply: eq_bigr => y _.
  rewrite -sumr_const; apply: eq_big => [s|s /eqP <-]; first by rewrite inE.
  by rewrite uploads_mix.
rewrite !P; apply: eq_bigr => y _; congr (_ *+ _); apply: perfect_hiding.
have -> : uploads x' c - uploads x c = x' - x by rewrite /uploads opprD addrACA subrr addr0.
have [|b [bA [s [sP bs]]]] := @reach_upto _ _ src tgt R K A (x' - x).
  by move=> i ei; rewrite component_sumB xx' ?subrr.
exists [ffun j => match j with inl e => s e | inr i => b i end].
rewrite /= /hid_fun -[RHS](subrK b) addrC -bs; congr (_ + _); first apply: (congr1 (boundary_fun src tgt (R := R))).
  by apply/ffunP=> e; rewrite !ffunE; case: ifP => // Ke; rewrite sP //= negbK.
by apply/ffunP=> i; rewrite !ffunE; case: ifP => // /bA.
Qed.

Theorem round_private x x' : same_exposed_sums x x' ->
  `| game x - game x' | <=
     \sum_(j | ~~ known j) generator_advantage G (reduction G known (fun rv m => Adv (uploads x m) rv) j) +
     \sum_(j | ~~ known j) generator_advantage G (reduction G known (fun rv m => Adv (uploads x' m) rv) j).
Proof.
move=> xx'; rewrite -[game x](subrK (ideal G known (fun rv m => Adv (uploads x m) rv))) -addrA.
apply: le_trans (ler_norm_add _ _) _; apply: ler_add; first exact: hybrid_revealed.
by rewrite (ideal_eq xx') distrC; apply: hybrid_revealed.
Qed.

(* The same with one number: if every reduction gains at most eps, the adversary
   gains at most 2 * (hidden seeds) * eps.                                        *)
Corollary round_private_eps x x' (eps : F) : same_exposed_sums x x' ->
  (forall z j, ~~ known j ->
     generator_advantage G (reduction G known (fun rv m => Adv (uploads z m) rv) j) <= eps) ->
  `| game x - game x' | <= (#|[pred j | ~~ known j]|.*2)%:R * eps.
Proof.
move=> xx' small; apply: le_trans (round_private xx') _.
rewrite -addnn natrD mulrDl !mulr_natl -!sumr_const.
by apply: ler_add; apply: ler_sum => j; apply: small.
Qed.
End Round.
