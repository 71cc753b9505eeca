(* securefl.crypto.packing: signed values in slots of base B = 2 h = 2^slot_bits of one
   plaintext. If n * max < h and 2 B^len <= N (a quarter of the modulus is free in the
   code), adding packed values modulo N carries nothing from one slot to the next and
   keeps the sign. The definitions are extracted (oracle).
   Not here: a partner who encrypts a value outside its bound carries into its
   neighbour; the hypothesis is on every partner.                                     *)
From Coq Require Import ZArith Lia List Bool.
From SecureFL Require Import Quantize.
Import ListNotations.
Local Open Scope Z_scope.

Fixpoint pack (B : Z) (v : list Z) : Z := match v with [] => 0 | x :: v' => x + B * pack B v' end.
Fixpoint unpack (B : Z) (len : nat) (p : Z) : list Z :=
  match len with O => [] | S l => p mod B :: unpack B l (p / B) end.

Theorem unpack_pack B v : 0 < B -> Forall (fun x => 0 <= x < B) v -> unpack B (length v) (pack B v) = v.
Proof.
intros HB. induction 1 as [|x v Hx _ IH]; [reflexivity|]. cbn [length pack unpack].
rewrite (Z.mul_comm B), Z.mod_add, Z.div_add, Z.mod_small, Z.div_small, Z.add_0_l, IH by lia.
reflexivity.
Qed.

Fixpoint vadd (a b : list Z) : list Z :=
  match a, b with x :: a', y :: b' => x + y :: vadd a' b' | _, _ => [] end.
Definition vzero (n : nat) : list Z := repeat 0 n.
Definition vsum (len : nat) (vs : list (list Z)) : list Z := fold_right vadd (vzero len) vs.

Lemma vadd_length a b : length a = length b -> length (vadd a b) = length a.
Proof. revert b. induction a as [|x a IH]; intros [|y b] H; cbn in *; try lia. rewrite IH; lia. Qed.
Lemma pack_vadd B a b : length a = length b -> pack B (vadd a b) = pack B a + pack B b.
Proof. revert b. induction a as [|x a IH]; intros [|y b] H; cbn in *; try lia. rewrite IH by lia. lia. Qed.
Lemma pack_vzero B n : pack B (vzero n) = 0.
Proof. unfold vzero. induction n as [|n IH]; cbn; [reflexivity|]. rewrite IH. lia. Qed.

Lemma vsum_length len vs : Forall (fun v => length v = len) vs -> length (vsum len vs) = len.
Proof.
induction 1 as [|v vs Hv _ IH]; cbn [vsum fold_right]; [apply repeat_length|].
fold (vsum len vs). rewrite vadd_length; congruence.
Qed.
Lemma pack_vsum B len vs : Forall (fun v => length v = len) vs ->
  pack B (vsum len vs) = sumZ (map (pack B) vs).
Proof.
induction 1 as [|v vs Hv Hvs IH]; cbn [vsum fold_right map sumZ]; [apply pack_vzero|].
fold (vsum len vs). rewrite pack_vadd, IH by (rewrite vsum_length; assumption). reflexivity.
Qed.

Lemma vadd_bound a b P Q : length a = length b ->
  Forall (fun x => Z.abs x <= P) a -> Forall (fun x => Z.abs x <= Q) b ->
  Forall (fun x => Z.abs x <= P + Q) (vadd a b).
Proof.
revert b. induction a as [|x a IH]; intros [|y b] H Ha Hb; cbn in *; try lia; [constructor|].
inversion Ha; inversion Hb; subst. constructor; [lia|]. apply IH; auto with zarith.
Qed.
Lemma vsum_bound len vs mx : Forall (fun v => length v = len) vs ->
  Forall (Forall (fun x => Z.abs x <= mx)) vs ->
  Forall (fun x => Z.abs x <= Z.of_nat (length vs) * mx) (vsum len vs).
Proof.
induction vs as [|v vs IH]; intros Hl Hb; cbn [vsum fold_right length].
- unfold vzero. clear. induction len; cbn; constructor; [lia|assumption].
- fold (vsum len vs). inversion Hl; inversion Hb; subst.
  replace (Z.of_nat (S (length vs)) * mx) with (mx + Z.of_nat (length vs) * mx) by lia.
  apply vadd_bound; auto. now rewrite vsum_length.
Qed.
Lemma pack_range B v : 0 < B -> Forall (fun x => 0 <= x < B) v -> 0 <= pack B v < B ^ Z.of_nat (length v).
Proof.
intros HB. induction 1 as [|x v Hx _ IH]; [cbn; lia|].
cbn [pack length]. rewrite Nat2Z.inj_succ, Z.pow_succ_r by lia. nia.
Qed.

(* Packing.offset: half a slot in every slot. *)
Definition offset (h : Z) (len : nat) : Z := pack (2 * h) (repeat h len).
(* Packing.unpack: the offset makes every slot non-negative before the slots are cut apart. *)
Definition unpack_signed (h : Z) (len : nat) (p : Z) : list Z :=
  map (fun y => y - h) (unpack (2 * h) len (p + offset h len)).
(* PrivateKey.decrypt: the plaintext modulo N as a signed number. *)
Definition signed (N x : Z) : Z := let y := x mod N in if N / 2 <? y then y - N else y.

Lemma signed_small N x : 2 * Z.abs x < N -> signed N x = x.
Proof.
intros Hx. unfold signed. destruct (Z_lt_le_dec x 0) as [Neg|Pos].
- replace (x mod N) with (x + N).
  + pose proof (Z.mul_div_le N 2 ltac:(lia)). destruct (Z.ltb_spec (N / 2) (x + N)); lia.
  + rewrite <- (Z.mod_add x 1) by lia. rewrite Z.mod_small; lia.
- rewrite Z.mod_small by lia. pose proof (Z.mul_succ_div_gt N 2 ltac:(lia)).
  destruct (Z.ltb_spec (N / 2) x); lia.
Qed.

Lemma pack_shift B h v : pack B (map (fun x => x + h) v) = pack B v + pack B (repeat h (length v)).
Proof. induction v as [|x v IH]; cbn [map pack length repeat]; [reflexivity|]. rewrite IH. lia. Qed.

Lemma unpack_signed_pack h v : 0 < h -> Forall (fun x => - h <= x < h) v ->
  unpack_signed h (length v) (pack (2 * h) v) = v.
Proof.
intros Hh Hv. unfold unpack_signed, offset. rewrite <- pack_shift.
rewrite <- (map_length (fun x => x + h) v) at 1. rewrite unpack_pack; [|lia|].
- rewrite map_map. transitivity (map (fun x => x) v); [apply map_ext; intros x; lia|apply map_id].
- apply Forall_map. eapply Forall_impl; [|exact Hv]. intros x Hx. cbv beta in *. lia.
Qed.

Lemma pack_signed_range h v : 0 < h -> Forall (fun x => - h <= x < h) v ->
  Z.abs (pack (2 * h) v) < (2 * h) ^ Z.of_nat (length v).
Proof.
intros Hh Hv. pose proof (pack_shift (2 * h) h v) as E.
assert (R : 0 <= pack (2 * h) (map (fun x => x + h) v) < (2 * h) ^ Z.of_nat (length v)).
{ rewrite <- (map_length (fun x => x + h) v) at 1. apply pack_range; [lia|].
  apply Forall_map. eapply Forall_impl; [|exact Hv]. intros x Hx. cbv beta in *. lia. }
assert (F : Forall (fun x => 0 <= x < 2 * h) (repeat h (length v))).
{ apply Forall_forall. intros x Hx. apply repeat_spec in Hx. lia. }
pose proof (pack_range (2 * h) _ ltac:(lia) F) as O. rewrite repeat_length in O.
lia.
Qed.

(* The packed plaintexts added modulo N, read as a signed number and cut apart, give the
   slotwise sums: nothing carries, and the sign survives.                             *)
Theorem packing_safe h N len vs mx :
  0 <= mx -> Z.of_nat (length vs) * mx < h -> 2 * (2 * h) ^ Z.of_nat len <= N ->
  Forall (fun v => length v = len) vs -> Forall (Forall (fun x => Z.abs x <= mx)) vs ->
  unpack_signed h len (signed N (sumZ (map (pack (2 * h)) vs))) = vsum len vs.
Proof.
intros Hmx Hh HN Hl Hb. rewrite <- pack_vsum with (len := len) by assumption.
pose proof (vsum_bound len vs mx Hl Hb) as HS. pose proof (vsum_length len vs Hl) as HL.
assert (H0 : 0 < h) by nia.
assert (HS' : Forall (fun x => - h <= x < h) (vsum len vs)).
{ eapply Forall_impl; [|exact HS]. intros x Hx. cbn in Hx. lia. }
pose proof (pack_signed_range h _ H0 HS') as HP. rewrite HL in HP.
rewrite signed_small by lia. rewrite <- HL at 1. now apply unpack_signed_pack.
Qed.
