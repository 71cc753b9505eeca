(* securefl.secagg.masking, executable: one word of a round on plain Z (vectors are
   taken pointwise). Clients are positive integers, as ClientId. Proven correct here
   and extracted; it is the oracle of the masking tests.                           *)
From Coq Require Import ZArith Lia List Bool Permutation.
From SecureFL Require Import Quantize.
Import ListNotations.
Local Open Scope Z_scope.

Section Round.
Variables (k : Z) (s : Z -> Z -> Z) (b : Z -> Z) (x : Z -> Z).
(* The keystream word of the seed that i and j share; read with i < j only. *)
Definition pair_mask (i j : Z) : Z := if i <? j then s i j else if j <? i then - s j i else 0.
Definition masked_input (U : list Z) (i : Z) : Z := wrap k (x i + b i + sumZ (map (pair_mask i) U)).
Definition memZ (l : list Z) (i : Z) : bool := existsb (Z.eqb i) l.
Definition dropped (U A : list Z) : list Z := filter (fun d => negb (memZ A d)) U.
Definition unmask (U A : list Z) (total : Z) : Z :=
  wrap k (total - sumZ (map b A) - sumZ (map (fun i => sumZ (map (pair_mask i) (dropped U A))) A)).

Lemma sumZ_app l m : sumZ (l ++ m) = sumZ l + sumZ m.
Proof. induction l; cbn; fold sumZ in *; unfold sumZ in *; lia. Qed.
Lemma sumZ_map_add f g l : sumZ (map (fun i : Z => f i + g i) l) = sumZ (map f l) + sumZ (map g l).
Proof. induction l; cbn; unfold sumZ in *; lia. Qed.
Lemma sumZ_map_ext f g l : (forall i : Z, In i l -> f i = g i) -> sumZ (map f l) = sumZ (map g l).
Proof. intros H. f_equal. now apply map_ext_in. Qed.

Lemma pair_mask_anti i j : pair_mask j i = - pair_mask i j.
Proof. unfold pair_mask. destruct (Z.ltb_spec i j), (Z.ltb_spec j i); lia. Qed.
Lemma pair_mask_self i : pair_mask i i = 0.
Proof. unfold pair_mask. rewrite Z.ltb_irrefl. reflexivity. Qed.

Lemma sumZ_opp f l : sumZ (map (fun i : Z => - f i) l) = - sumZ (map f l).
Proof. induction l; cbn; unfold sumZ in *; lia. Qed.

Lemma pair_mask_cancel A : sumZ (map (fun i => sumZ (map (pair_mask i) A)) A) = 0.
Proof.
induction A as [|a A IH]; [reflexivity|]. cbn [map sumZ fold_right].
change (fold_right Z.add 0) with sumZ.
rewrite (sumZ_map_add (fun i => pair_mask i a) (fun i => sumZ (map (pair_mask i) A))), IH, pair_mask_self.
rewrite (sumZ_map_ext (fun i => pair_mask i a) (fun i => - pair_mask a i)) by (intros; apply pair_mask_anti).
rewrite sumZ_opp. lia.
Qed.

Lemma memZ_In l i : memZ l i = true <-> In i l.
Proof.
unfold memZ. rewrite existsb_exists. split.
- intros [j [Hj E]]. apply Z.eqb_eq in E. now subst.
- intros H. exists i. split; [assumption|apply Z.eqb_refl].
Qed.

(* U splits into survivors and dropped *)
Lemma sum_split f U A : NoDup U -> NoDup A -> incl A U ->
  sumZ (map f U) = sumZ (map f A) + sumZ (map f (dropped U A)).
Proof.
intros NU NA HA.
assert (E : sumZ (map f U) = sumZ (map f (filter (memZ A) U)) + sumZ (map f (dropped U A))).
{ unfold dropped. clear. induction U as [|u U IH]; [reflexivity|]. cbn [filter map].
  destruct (memZ A u); cbn [negb map sumZ fold_right]; unfold sumZ in *; cbn; lia. }
rewrite E. f_equal.
assert (P : Permutation (filter (memZ A) U) A).
{ apply NoDup_Permutation; [now apply NoDup_filter|assumption|].
  intros i. rewrite filter_In, memZ_In. intuition. }
clear -P. unfold sumZ. induction P; cbn; lia.
Qed.

Lemma wrap_sub l c : 0 <= k -> wrap k (sumZ (map (wrap k) l) - c) = wrap k (sumZ l - c).
Proof.
intros Hk. pose proof (Z.pow_pos_nonneg 2 k ltac:(lia) Hk).
unfold wrap at 1 3. rewrite Zminus_mod, (sumZ_wrap k l Hk), <- Zminus_mod. reflexivity.
Qed.

Theorem round_correct U A : 0 <= k -> NoDup U -> NoDup A -> incl A U ->
  unmask U A (sumZ (map (masked_input U) A)) = wrap k (sumZ (map x A)).
Proof.
intros Hk NU NA HA. unfold unmask, masked_input.
rewrite <- (map_map (fun i => x i + b i + sumZ (map (pair_mask i) U)) (wrap k)).
rewrite <- Z.sub_add_distr, wrap_sub by assumption. f_equal.
rewrite (sumZ_map_add (fun i => x i + b i)), sumZ_map_add.
rewrite (sumZ_map_ext (fun i => sumZ (map (pair_mask i) U))
  (fun i => sumZ (map (pair_mask i) A) + sumZ (map (pair_mask i) (dropped U A)))).
2:{ intros i _. now apply sum_split. }
rewrite (sumZ_map_add (fun i => sumZ (map (pair_mask i) A))), pair_mask_cancel. lia.
Qed.
End Round.
