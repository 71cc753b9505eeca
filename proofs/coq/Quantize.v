(* securefl.quantize on exact rationals: clip, scale by a power of two, round half to
   even, weigh, add in Z_2^k, decode. A float64 is an exact rational n/d; the scale is
   up/down (2^s/1 for s >= 0, 1/2^-s below) and the clip cn/cd. The definitions are
   extracted and are the oracle of the differential tests.
   Not here: that numpy's multiplication by 2^s and rint are exact (they are tested).  *)
From Coq Require Import ZArith Lia List Bool QArith Qabs.
Import ListNotations.
Local Open Scope Z_scope.

Definition sumZ (l : list Z) : Z := fold_right Z.add 0 l.

(* Round n/d half to even, as numpy.rint. *)
Definition rne (n d : Z) : Z :=
  let q := n / d in let r := n mod d in
  match Z.compare (2 * r) d with
  | Lt => q | Gt => q + 1 | Eq => if Z.even q then q else q + 1
  end.

Lemma rne_error n d : 0 < d -> 2 * Z.abs (rne n d * d - n) <= d.
Proof.
intros Hd. unfold rne.
pose proof (Z.div_mod n d ltac:(lia)) as E. pose proof (Z.mod_pos_bound n d Hd) as B.
destruct (Z.compare_spec (2 * (n mod d)) d); try destruct (Z.even (n / d)); nia.
Qed.

Lemma rne_mono n n' d : 0 < d -> n <= n' -> rne n d <= rne n' d.
Proof.
intros Hd Hn. unfold rne.
pose proof (Z.div_mod n d ltac:(lia)) as E. pose proof (Z.mod_pos_bound n d Hd) as B.
pose proof (Z.div_mod n' d ltac:(lia)) as E'. pose proof (Z.mod_pos_bound n' d Hd) as B'.
pose proof (Z.div_le_mono n n' d Hd Hn) as Q.
destruct (Z.eq_dec (n / d) (n' / d)) as [Eq|Ne].
- rewrite <- Eq in *. assert (n mod d <= n' mod d) by nia.
  destruct (Z.compare_spec (2 * (n mod d)) d), (Z.compare_spec (2 * (n' mod d)) d);
    destruct (Z.even (n / d)); lia.
- destruct (Z.compare_spec (2 * (n mod d)) d), (Z.compare_spec (2 * (n' mod d)) d);
    destruct (Z.even (n / d)); destruct (Z.even (n' / d)); lia.
Qed.

Lemma rne_opp n d : 0 < d -> rne (- n) d = - rne n d.
Proof.
intros Hd. unfold rne.
pose proof (Z.div_mod n d ltac:(lia)) as E. pose proof (Z.mod_pos_bound n d Hd) as B.
destruct (Z.eq_dec (n mod d) 0) as [R0|R0].
- rewrite (Z.div_opp_l_z n d), (Z.mod_opp_l_z n d), R0 by lia.
  destruct (Z.compare_spec (2 * 0) d); lia.
- rewrite (Z.div_opp_l_nz n d), (Z.mod_opp_l_nz n d) by lia.
  replace (- (n / d) - 1) with (- (n / d + 1)) by lia.
  rewrite Z.even_opp, Z.add_1_r, Z.even_succ, <- Z.negb_even.
  destruct (Z.compare_spec (2 * (n mod d)) d), (Z.compare_spec (2 * (d - n mod d)) d);
    destruct (Z.even (n / d)); cbn; lia.
Qed.


Lemma rne_exact m d : 0 < d -> rne (m * d) d = m.
Proof.
intros Hd. unfold rne. rewrite Z.div_mul, Z.mod_mul by lia.
destruct (Z.compare_spec (2 * 0) d); lia.
Qed.

(* Only the value of the fraction matters. *)
Lemma rne_scale a n d : 0 < a -> 0 < d -> rne (a * n) (a * d) = rne n d.
Proof.
intros Ha Hd. unfold rne.
rewrite Z.div_mul_cancel_l, Z.mul_mod_distr_l by lia.
replace (2 * (a * (n mod d))) with (a * (2 * (n mod d))) by lia.
rewrite <- (Zmult_compare_compat_l _ _ a) by lia. reflexivity.
Qed.

Definition clipZ (lo hi x : Z) : Z := Z.max lo (Z.min hi x).

(* Quantizer.limit: the most steps that one coordinate can have. *)
Definition limit (up down cn cd : Z) : Z := rne (cn * up) (cd * down).

(* Quantizer.quantize on one coordinate n/d. *)
Definition quantize (up down cn cd n d : Z) : Z :=
  rne (clipZ (- (cn * d)) (cn * d) (n * cd) * up) (d * cd * down).

(* RingVector words, and Quantizer.decode: two's complement. *)
Definition wrap (k x : Z) : Z := x mod 2 ^ k.
Definition centre (k x : Z) : Z := let y := x mod 2 ^ k in if 2 * y <? 2 ^ k then y else y - 2 ^ k.

(* Quantizer.encode: weight * steps as a ring word. *)
Definition encode (k w q : Z) : Z := wrap k (w * q).

Theorem quantize_bound up down cn cd n d :
  0 < up -> 0 < down -> 0 <= cn -> 0 < cd -> 0 < d ->
  Z.abs (quantize up down cn cd n d) <= limit up down cn cd.
Proof.
intros Hu Hw Hc Hcd Hd. unfold quantize, limit, clipZ.
set (x := Z.max _ _). assert (Hx : - (cn * d) <= x <= cn * d) by (subst x; nia).
assert (Hden : 0 < d * cd * down) by nia.
assert (E : rne (cn * d * up) (d * cd * down) = rne (cn * up) (cd * down)).
{ replace (cn * d * up) with (d * (cn * up)) by lia.
  replace (d * cd * down) with (d * (cd * down)) by lia. apply rne_scale; nia. }
assert (U : rne (x * up) (d * cd * down) <= rne (cn * d * up) (d * cd * down)) by (apply rne_mono; nia).
assert (L : rne (- (cn * d * up)) (d * cd * down) <= rne (x * up) (d * cd * down)) by (apply rne_mono; nia).
rewrite rne_opp in L by lia. rewrite E in U, L. lia.
Qed.

Lemma centre_wrap k x : 0 < k -> 2 * Z.abs x < 2 ^ k -> centre k x = x.
Proof.
intros Hk Hx. unfold centre.
destruct (Z_lt_le_dec x 0) as [N|P].
- replace (x mod 2 ^ k) with (x + 2 ^ k).
  + destruct (Z.ltb_spec (2 * (x + 2 ^ k)) (2 ^ k)); lia.
  + rewrite <- (Z.mod_add x 1) by lia. rewrite Z.mod_small; lia.
- rewrite Z.mod_small by lia. destruct (Z.ltb_spec (2 * x) (2 ^ k)); lia.
Qed.

Lemma sumZ_wrap k l : 0 <= k -> (sumZ (map (wrap k) l)) mod 2 ^ k = (sumZ l) mod 2 ^ k.
Proof.
intros Hk. pose proof (Z.pow_pos_nonneg 2 k ltac:(lia) Hk) as P.
induction l as [|a l IH]; [reflexivity|]. cbn [map sumZ fold_right].
change (fold_right Z.add 0) with sumZ in *. unfold wrap at 1.
rewrite Z.add_mod_idemp_l, Z.add_mod, IH, <- Z.add_mod by lia. reflexivity.
Qed.

Lemma sumZ_abs l Q : Forall (fun q => Z.abs q <= Q) l -> Z.abs (sumZ l) <= Z.of_nat (length l) * Q.
Proof.
induction 1 as [|q l Hq _ IH]; [cbn; lia|]. cbn [sumZ fold_right length].
change (fold_right Z.add 0 l) with (sumZ l). lia.
Qed.


(* A client's input to the sum: its weight, and its coordinate n/d. *)
Definition steps_of up down cn cd (x : Z * (Z * Z)) : Z :=
  fst x * quantize up down cn cd (fst (snd x)) (snd (snd x)).

(* Quantizer.require_capacity: if n * max_weight * limit < 2^(k-1), the decoded ring sum
   is the integer sum.                                                              *)
Theorem no_overflow up down cn cd k W (xs : list (Z * (Z * Z))) :
  0 < up -> 0 < down -> 0 <= cn -> 0 < cd -> 0 < k ->
  Forall (fun x => 0 <= fst x <= W /\ 0 < snd (snd x)) xs ->
  Z.of_nat (length xs) * W * limit up down cn cd < 2 ^ (k - 1) ->
  centre k (sumZ (map (fun x => encode k (fst x) (quantize up down cn cd (fst (snd x)) (snd (snd x)))) xs)) =
  sumZ (map (steps_of up down cn cd) xs).
Proof.
intros Hu Hw Hc Hcd Hk Hx Hn.
change (fun x : Z * (Z * Z) => encode k (fst x) (quantize up down cn cd (fst (snd x)) (snd (snd x))))
  with (fun x => wrap k (steps_of up down cn cd x)).
rewrite <- (map_map (steps_of up down cn cd) (wrap k)).
set (qs := map (steps_of up down cn cd) xs). unfold centre. rewrite sumZ_wrap by lia.
fold (centre k (sumZ qs)). apply centre_wrap; [lia|].
assert (B : Z.abs (sumZ qs) <= Z.of_nat (length qs) * (W * limit up down cn cd)).
{ apply sumZ_abs. subst qs. apply Forall_map. eapply Forall_impl; [|exact Hx].
  intros x [Hxw Hxd]. unfold steps_of. rewrite Z.abs_mul, Z.abs_eq by lia.
  pose proof (quantize_bound up down cn cd (fst (snd x)) (snd (snd x)) Hu Hw Hc Hcd Hxd).
  apply Z.mul_le_mono_nonneg; lia. }
subst qs. rewrite map_length in B.
replace (2 ^ k) with (2 * 2 ^ (k - 1)).
2:{ rewrite <- Z.pow_succ_r by lia. f_equal. lia. }
lia.
Qed.

(* Accuracy: for values inside the clip, |sum w q - scale * sum w x| <= sum w / 2 steps
   (Quantizer.error_bound).                                                         *)
Definition scaleQ (up : Z) (down : positive) : Q := up # down.
Definition quantizeQ (up : Z) (down : positive) (c x : Q) : Z :=
  quantize up (Zpos down) (Qnum c) (Zpos (Qden c)) (Qnum x) (Zpos (Qden x)).
Definition sumQ (l : list Q) : Q := fold_right Qplus 0%Q l.
Definition weighted_steps up down c (l : list (Z * Q)) : Z :=
  sumZ (map (fun wx => fst wx * quantizeQ up down c (snd wx)) l).
Definition weighted_sum (l : list (Z * Q)) : Q :=
  sumQ (map (fun wx => inject_Z (fst wx) * snd wx)%Q l).
Definition total_weight (l : list (Z * Q)) : Z := sumZ (map fst l).

Lemma quantize_error up down c x : 0 < up -> (Qabs x <= c)%Q ->
  (Qabs (inject_Z (quantizeQ up down c x) - scaleQ up down * x) <= 1 # 2)%Q.
Proof.
intros Hu Hx. destruct x as [n d], c as [cn cd]. unfold quantizeQ, quantize, clipZ, scaleQ. cbn [Qnum Qden].
unfold Qle in Hx. cbn in Hx.
rewrite Z.min_r, Z.max_r by lia.
pose proof (rne_error (n * Zpos cd * up) (Zpos d * Zpos cd * Zpos down) ltac:(lia)) as E. set (q := rne _ _) in *.
unfold Qle, Qabs, Qminus, Qplus, Qopp, Qmult, inject_Z. cbn [Qnum Qden].
rewrite !Pos.mul_1_l, !Pos2Z.inj_mul. nia.
Qed.

Lemma weighted_error w q s x : 0 <= w -> (Qabs (inject_Z q - s * x) <= 1 # 2)%Q ->
  (Qabs (inject_Z (w * q) - s * (inject_Z w * x)) <= inject_Z w * (1 # 2))%Q.
Proof.
intros Hw Hq. rewrite inject_Z_mult.
setoid_replace (inject_Z w * inject_Z q - s * (inject_Z w * x))%Q
  with (inject_Z w * (inject_Z q - s * x))%Q by ring.
rewrite Qabs_Qmult. rewrite (Qabs_pos (inject_Z w)).
- setoid_rewrite Qmult_comm. apply Qmult_le_compat_r; [exact Hq|].
  change 0%Q with (inject_Z 0). rewrite <- Zle_Qle. exact Hw.
- change 0%Q with (inject_Z 0). rewrite <- Zle_Qle. exact Hw.
Qed.

Theorem sum_error up down c (xs : list (Z * Q)) :
  0 < up -> Forall (fun wx => 0 <= fst wx /\ (Qabs (snd wx) <= c)%Q) xs ->
  (Qabs (inject_Z (weighted_steps up down c xs) - scaleQ up down * weighted_sum xs)
     <= inject_Z (total_weight xs) * (1 # 2))%Q.
Proof.
intros Hu. unfold weighted_steps, weighted_sum, total_weight. induction 1 as [|[w x] xs [Hw Hx] _ IH].
- cbn [map sumZ sumQ fold_right]. setoid_replace (inject_Z 0 - scaleQ up down * 0)%Q with 0%Q by ring.
  discriminate.
- cbn [map sumZ sumQ fold_right fst snd] in *. change (fold_right Z.add 0) with sumZ in *.
  change (fold_right Qplus 0%Q) with sumQ in *. rewrite !inject_Z_plus.
  set (S := sumZ (map (fun wx => fst wx * quantizeQ up down c (snd wx)) xs)) in *.
  set (X := sumQ _) in *. set (q := w * quantizeQ up down c x).
  setoid_replace (inject_Z q + inject_Z S - scaleQ up down * (inject_Z w * x + X))%Q with
    ((inject_Z q - scaleQ up down * (inject_Z w * x)) + (inject_Z S - scaleQ up down * X))%Q by ring.
  eapply Qle_trans; [apply Qabs_triangle|].
  setoid_replace ((inject_Z w + inject_Z (sumZ (map fst xs))) * (1 # 2))%Q with
    (inject_Z w * (1 # 2) + inject_Z (sumZ (map fst xs)) * (1 # 2))%Q by ring.
  apply Qplus_le_compat; [|exact IH]. apply weighted_error; [exact Hw|]. now apply quantize_error.
Qed.

(* Stochastic rounding (Quantizer.quantize with an rng): the value is first rounded to a
   grid of 1/M steps (g), then floor((g + u) / M) with u uniform in 0..M-1, then clipped to
   the limit. Unbiased on the grid, exactly, wherever |g| <= limit * M.              *)
Definition stochastic (m M u : Z) : Z := (m + u) / M.
Definition quantize_stochastic (M lim g u : Z) : Z := clipZ (- lim) lim (stochastic g M u).
Fixpoint sum_upto (f : Z -> Z) (n : nat) : Z :=
  match n with O => 0 | S n' => sum_upto f n' + f (Z.of_nat n') end.

Lemma sum_upto_shift f n : sum_upto (fun u => f (u + 1)) n = sum_upto f n + f (Z.of_nat n) - f 0.
Proof.
induction n as [|n IH]; [cbn; lia|]. cbn [sum_upto].
rewrite IH, Nat2Z.inj_succ. unfold Z.succ. lia.
Qed.
Lemma sum_upto_ext f g n : (forall u, f u = g u) -> sum_upto f n = sum_upto g n.
Proof. intros E. induction n; cbn; congruence. Qed.
Lemma sum_upto_0 f n : (forall u, 0 <= u < Z.of_nat n -> f u = 0) -> sum_upto f n = 0.
Proof. induction n as [|n IH]; intros H; [reflexivity|]. cbn [sum_upto]. rewrite IH, H; lia || (intros; apply H; lia). Qed.

Theorem stochastic_unbiased (M : nat) m : (0 < M)%nat -> sum_upto (stochastic m (Z.of_nat M)) M = m.
Proof.
intros HM. set (B := Z.of_nat M). assert (HB : 0 < B) by lia.
assert (Step : forall m, sum_upto (stochastic (m + 1) B) M = sum_upto (stochastic m B) M + 1).
{ intros x. rewrite (sum_upto_ext (stochastic (x + 1) B) (fun u => stochastic x B (u + 1))).
  2:{ intros u. unfold stochastic. f_equal. lia. }
  rewrite sum_upto_shift. fold B. unfold stochastic at 2 3.
  replace (x + B) with (x + 1 * B) by lia. rewrite Z.div_add, Z.add_0_r by lia. lia. }
assert (Zero : sum_upto (stochastic 0 B) M = 0).
{ apply sum_upto_0. intros u Hu. unfold stochastic. apply Z.div_small. lia. }
revert m. apply Z.bi_induction.
- intros ? ? ->. reflexivity.
- exact Zero.
- intros x. pose proof (Step x). rewrite <- Z.add_1_r. lia.
Qed.


Lemma sum_upto_ext_below f g n : (forall u, 0 <= u < Z.of_nat n -> f u = g u) -> sum_upto f n = sum_upto g n.
Proof.
induction n as [|n IH]; intros E; [reflexivity|]. cbn [sum_upto].
rewrite IH, E; try lia. intros u Hu. apply E. lia.
Qed.

Theorem quantize_stochastic_unbiased (M : nat) lim g :
  (0 < M)%nat -> Z.abs g <= lim * Z.of_nat M ->
  sum_upto (quantize_stochastic (Z.of_nat M) lim g) M = g.
Proof.
intros HM Hg. rewrite <- (stochastic_unbiased M g HM) at 2. apply sum_upto_ext_below.
intros u Hu. unfold quantize_stochastic, clipZ, stochastic.
assert (HB : 0 < Z.of_nat M) by lia.
assert (U : (g + u) / Z.of_nat M <= lim) by (apply Z.lt_succ_r, Z.div_lt_upper_bound; lia).
assert (L : - lim <= (g + u) / Z.of_nat M) by (apply Z.div_le_lower_bound; lia).
lia.
Qed.
