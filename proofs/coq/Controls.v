(* Instances and controls: the hypotheses of the theorems can be met, and what goes wrong
   when one is dropped.                                                               *)
From Coq Require Import ZArith.
From mathcomp Require Import all_ssreflect ssralg ssrnum ssrint intdiv finalg matrix poly zmodp.
From SecureFL Require Import Fibre Masking Hiding CompleteGraph Average Generator Shamir SharedSeeds Quorum.
From SecureFL Require Quantize Packing.
From SecureFL Require Import Paillier ThresholdPaillier DifferentialPrivacy Geometric DistributedNoise SupportGuard.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(* 1. Masks. Three clients on the complete graph, the third drops out. *)
Example one_dropped (x b : 'I_3 -> 'Z_4) (s : 'I_3 -> 'I_3 -> 'Z_4) (A : {set 'I_3}) :
  (forall i j, s i j = s j i) ->
  unmask (fun _ _ => true) setT A b s (\sum_(i in A) masked_input (fun _ _ => true) setT x b s i) =
  \sum_(i in A) x i.
Proof. by move=> ssym; apply: unmask_correct => //; apply: subsetT. Qed.

(* Antisymmetry of the masks alone is not enough modulo 2^k: the diagonal must be 0. *)
Example antisymmetry_not_enough : exists m : 'I_1 -> 'I_1 -> 'Z_4,
  (forall i j, m j i = - m i j) /\ \sum_i \sum_j m i j != 0.
Proof.
exists (fun _ _ => inZp 2); split=> [i j|]; first by apply/val_inj.
by rewrite !big_ord1.
Qed.

(* 2. Hiding. Three honest clients, one 2-bit word: each possible view has 4 explanations. *)
Example three_clients (x y : {ffun 'I_3 -> {ffun 'I_1 -> 'Z_4}}) : \sum_i x i = \sum_i y i ->
  #|[set s | view (@esrc 2) (@etgt 2) x s == y]| = 4%N.
Proof. by move=> xy; rewrite (complete_count xy) card_ffun !card_ord. Qed.

(* Masks must never be reused: two rounds with the same masks leak the difference. *)
Theorem mask_reuse_leaks (T E : finType) (src tgt : E -> T) (R : finZmodType)
  (x x' : {ffun T -> R}) (s : {ffun E -> R}) : view src tgt x s - view src tgt x' s = x - x'.
Proof. by rewrite /view opprD addrACA subrr addr0. Qed.

(* If a self mask and all pairwise masks of a client become known, its input is exposed. *)
Theorem both_known_exposes (T E : finType) (src tgt : E -> T) (K : pred E) (A : {set T}) i :
  i \in A -> (forall e, (src e == i) || (tgt e == i) -> K e) -> exposed src tgt K A i.
Proof.
move=> iA Ke; apply/forallP=> j; apply/implyP=> /connectP[[|k p] /=]; first by move=> _ ->.
by case/andP=> /existsP[e /andP[/= /negP nKe /orP[/andP[/eqP si _]|/andP[_ /eqP ti]]]] _ _;
  case: nKe; apply: Ke; rewrite ?si ?ti eqxx ?orbT.
Qed.

(* 3. Generators. Uniform seeds used as masks have no advantage against them ... *)
Example one_time_pad (F : realFieldType) (E R : finType) (B : {ffun E -> R} -> {ffun E -> R} -> R -> F) :
  generator_advantage id B = 0.
Proof. by rewrite /generator_advantage subrr normr0. Qed.

(* ... and a constant generator hides nothing. *)
Theorem constant_generator_leaks (T E : finType) (src tgt : E -> T) (R : finZmodType) (x : {ffun T -> R}) :
  uploads src tgt x [ffun=> 0] = x.
Proof.
rewrite /uploads (_ : [ffun i : T => _] = 0); last by apply/ffunP=> i; rewrite !ffunE.
rewrite (_ : [ffun e : E => _] = 0); last by apply/ffunP=> e; rewrite !ffunE.
by rewrite add0r raddf0 addr0.
Qed.

(* 4. Shamir. Three holders over 'F_5, threshold 3: two shares fit every secret. *)
Example two_of_three (s s' : 'F_5) (v : {ffun 'I_3 -> 'F_5}) (C : {set 'I_3}) : (#|C| <= 2)%N ->
  #|[set r : 'rV_2 | shares (fun i : 'I_3 => (i.+1)%:R) C s r == v]| =
  #|[set r : 'rV_2 | shares (fun i : 'I_3 => (i.+1)%:R) C s' r == v]|.
Proof.
move=> C2; apply: shamir_private => //.
  by move=> [[|[|[|i]]] hi] [[|[|[|j]]] hj] // _; apply/val_inj.
by case=> [[|[|[|i]]] hi].
Qed.

(* t shares are not private: they determine the secret. *)
Theorem threshold_shares_tell (Fq : finFieldType) (I : finType) (a : I -> Fq) t' (C : {set I})
  (s s' : Fq) (r r' : 'rV[Fq]_t') : injective a -> (t' < #|C|)%N ->
  shares a C s r = shares a C s' r' -> s = s'.
Proof.
move=> a_inj tC same; rewrite -(dealer_secret s r) -(dealer_secret s' r').
have aI : {in C &, injective a} by move=> ? ? _ _; apply: a_inj.
rewrite -(shamir_correct aI (dealer_size s r) tC) -(shamir_correct aI (dealer_size s' r') tC).
by apply: eq_bigr => i iC; move/ffunP/(_ i): same; rewrite !ffunE iC => ->.
Qed.

(* 5. Quorum. n = 4, t = 3 tolerates one corrupted client, not two. *)
Example quorum_ok (C : {set 'I_4}) : #|C| = 1%N -> forall A B, ~~ split_attack C 3 A B.
Proof. by move=> c; apply: threshold_safe; rewrite card_ord c. Qed.
Example quorum_bad (C : {set 'I_4}) : #|C| = 2%N -> exists A B, split_attack C 3 A B.
Proof. by move=> c; apply: threshold_tight; rewrite card_ord c. Qed.

(* 6. Quantiser. Two clients at the limit; at the capacity the sum wraps. *)
Section Quantizer.
Import Quantize Packing.
Local Open Scope Z_scope.
Example sum_fits : centre 8 (sumZ [:: encode 8 3 (quantize 16 1 1 1 2 1); encode 8 1 (quantize 16 1 1 1 (-1) 3)]) = 43.
Proof. reflexivity. Qed.
Example sum_wraps : centre 8 (sumZ [:: encode 8 4 (quantize 16 1 1 1 2 1); encode 8 4 (quantize 16 1 1 1 2 1)]) = -128.
Proof. reflexivity. Qed.
(* Half to even is not half up. *)
Example half_to_even : (rne 1 2, rne 3 2, rne (-1) 2, rne 5 2) = (0, 2, 0, 2).
Proof. reflexivity. Qed.
(* Stochastic rounding is biased where the limit cuts in: clip * scale = 1.5, limit 2, grid 1/4. *)
Example limit_biases : sum_upto (quantize_stochastic 4 1 6) 4 = 4 /\ sum_upto (quantize_stochastic 4 2 6) 4 = 6.
Proof. split; reflexivity. Qed.
(* A value outside its slot carries into the neighbour. *)
Example slots_fit : unpack_signed 8 3 (signed 10000 (pack 16 [:: -8; 7; 3] + pack 16 [:: 2; -9; -3])) = [:: -6; -2; 0].
Proof. reflexivity. Qed.
Example slots_carry : unpack_signed 8 2 (signed 1000 (pack 16 [:: 7; 0] + pack 16 [:: 1; 0])) = [:: -8; 1].
Proof. reflexivity. Qed.
End Quantizer.

(* 7. Paillier. A toy key, n = 5 * 7, lambda = lcm(4, 6) = 12, mu = 3. *)
Example paillier_35 (mr : seq (nat * nat)) : all (fun c => coprime c.2 35) mr ->
  dec 35 12 3 (agg 35 [seq enc 35 c.1 c.2 | c <- mr]) = (sumn [seq c.1 | c <- mr] %% 35)%N.
Proof. exact: (@paillier_keygen 5 7 12 3). Qed.
Example paillier_35_crt (mr : seq (nat * nat)) : all (fun c => coprime c.2 35) mr ->
  dec_crt 5 7 2 4 3 (agg 35 [seq enc 35 c.1 c.2 | c <- mr]) = (sumn [seq c.1 | c <- mr] %% 35)%N.
Proof. exact: (@paillier_crt 5 7 2 4 3). Qed.
(* Without gcd(n, lambda) = 1 there is no mu: p = 3, q = 7 is no Paillier key. *)
Example paillier_bad_pq : ~ exists mu, (6 * mu = 1 %[mod 21])%N.
Proof.
by case=> mu /(congr1 (fun a => a %% 3)%N); rewrite !(modn_dvdm _ (_ : 3 %| 21)%N) // -modnMml.
Qed.

(* Threshold: n = 7 * 11, two of two parties, d = 540, the polynomial 540 + X ... *)
Example threshold_77 (mr : seq (nat * nat)) : all (fun c => coprime c.2 77) mr ->
  let c := agg 77 [seq enc 77 c.1 c.2 | c <- mr] in
  let total := combined (c%:R : 'Z_(77 * 77)) setT (fun i : 'I_2 => 540%:Z + point i) in
  ((L 77 (val total) * 53) %% 77 = sumn [seq c.1 | c <- mr] %% 77)%N.
Proof.
move=> cop; apply: (@threshold_decrypt 2 7 11 3 5 540 53 setT (540%:Z%:P + 'X) _ (fun=> 0)) => //.
- rewrite cardsT card_ord (leq_trans (size_add _ _)) // geq_max size_polyX.
  by rewrite (leq_trans (size_polyC_leq1 _)).
- by rewrite hornerD hornerC hornerX addr0.
- by move=> i; rewrite hornerD hornerC hornerX mulr0 addr0.
Qed.
(* ... and one of them alone does not interpolate it. *)
Example one_share_too_few : \sum_(i in [set ord0 : 'I_2]) lagrange_integer [set ord0] i *
  (540%:Z%:P + 'X).[point i] != delta 2 * (540%:Z%:P + 'X).[0].
Proof.
rewrite big_set1 /lagrange_integer /denominator setDv !big_set0 mulr1 divz1.
by rewrite !hornerD !hornerC !hornerX.
Qed.

(* 8. Differential privacy. Randomised response with 3/4 is (3, 0)-private ... *)
Example coin_flips (F : realFieldType) : dp (fun _ _ : bool => True) (3%:R : F) 0 (rr (3%:R / 4%:R)).
Proof.
have four : (4%:R : F) != 0 by rewrite pnatr_eq0.
have q : 1 - 3%:R / 4%:R = 1 / 4%:R :> F.
  by apply: (mulIf four); rewrite mulrBl !divfK // !mul1r -(natrB _ (isT : (3 <= 4)%N)).
have odds : 3%:R / 4%:R / (1 / 4%:R) = 3%:R :> F.
  by apply: (canLR (mulfK _)); rewrite mul1r ?invr_eq0.
have := @rr_dp F (3%:R / 4%:R); rewrite q odds; apply; first by rewrite ler_pmul2r ?invr_gt0 ?ltr0n // ler1n.
by rewrite ltr_pdivr_mulr ?ltr0n // mul1r ltr_nat.
Qed.
(* ... an answer without noise is not private at any price below delta = 1. *)
Theorem truth_is_not_private (F : realFieldType) (a d : F) : 0 <= d < 1 ->
  ~ dp (fun _ _ : bool => True) a d (fun x o => (o == x)%:R : F).
Proof.
move=> /andP[_ d1] priv; have := priv true false I [set true].
by rewrite /Pr !big_set1 /= mulr0 add0r leNgt d1.
Qed.
(* With no survivor there is no noise. *)
Theorem nobody_no_noise (F : realFieldType) (I : finType) (R : finZmodType) (noise : I -> {ffun R -> F}) :
  law noise set0 = @no_noise F R.
Proof. by rewrite /law big_set0. Qed.

(* 9. The support guard. Without it, a bit of one compound shows that compound's gradient ... *)
Theorem unguarded_row_tells n (B : finType) (V : zmodType) (x : 'I_n -> B -> bool) (lam : 'I_n -> V) b i :
  (forall j, x j b = (j == i)) -> row x lam b = lam i.
Proof. by move=> only; rewrite /row (big_pred1 i) // => j; rewrite only. Qed.

(* ... and with it, a withheld bit still moves released rows through the forward pass: here
   the hidden value is the sum of the row weights (1) of a compound's bits, and the gradient
   is that value. Bit 1 is withheld (support 1 < 2); bit 0 is released and differs.      *)
Section Forward.
Let bits (rare : bool) (i : 'I_2) (b : bool) : bool := ~~ b || (rare && (i == ord0)).
Let gradient rare (i : 'I_2) : int := \sum_(b : bool | bits rare i b) 1.
Example forward_leaks :
  (forall rare, released 2 (bits rare) true = false) /\
  guarded 2 (bits false) (gradient false) false != guarded 2 (bits true) (gradient true) false.
Proof.
have supp rare b : support (bits rare) b = (\sum_(i < 2) bits rare i b)%N.
  by rewrite /support -sum1_card big_mkcond /=; apply: eq_bigr => i _; rewrite inE; case: (bits _ _ _).
split=> [rare|].
  by rewrite /released supp !big_ord_recl big_ord0 /bits; case: rare.
rewrite /guarded /released !supp /row /gradient !big_mkcond /=.
rewrite !(big_ord_recl, big_ord0) /bits /=.
by do 2!rewrite [\sum_(b | _) 1]big_mkcond big_bool /=.
Qed.
End Forward.
