(* Non-vacuity: the hypotheses of the main theorems are satisfiable; and negative
   controls: what goes wrong when one is dropped.                               *)
From mathcomp Require Import all_ssreflect ssralg finalg zmodp.
From SecureFL Require Import Fibre Hiding Complete Quorum Paillier.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

(* a toy key: n = 5 * 7, lambda = lcm(4, 6) = 12, mu = 3 *)
Example paillier_35 (mr : seq (nat * nat)) : all (fun c => coprime c.2 35) mr ->
  dec 35 12 3 (agg 35 [seq enc 35 c.1 c.2 | c <- mr]) = (sumn [seq c.1 | c <- mr] %% 35)%N.
Proof. exact: (@paillier_keygen 5 7 12 3). Qed.

(* without gcd(n, lambda) = 1 there is no mu: p = 3, q = 7 is not a Paillier key *)
Example paillier_bad_pq : ~ exists mu, (6 * mu = 1 %[mod 21])%N.
Proof.
by case=> mu /(congr1 (fun a => a %% 3)%N); rewrite !(modn_dvdm _ (_ : 3 %| 21)%N) // -modnMml.
Qed.

(* 3 honest clients, one 2-bit word: each consistent view has exactly 4 mask assignments *)
Example three_clients (x y : {ffun 'I_3 -> {ffun 'I_1 -> 'Z_4}}) : \sum_i x i = \sum_i y i ->
  #|[set s | view (@esrc 2) (@etgt 2) x s == y]| = 4%N.
Proof. by move=> xy; rewrite (complete_count xy) card_ffun !card_ord. Qed.

(* n = 4, t = 3 tolerates one corrupted client, not two *)
Example quorum_ok (C : {set 'I_4}) : #|C| = 1%N -> forall A B, ~~ split_attack C 3 A B.
Proof. by move=> c; apply: threshold_safe; rewrite card_ord c. Qed.
Example quorum_bad (C : {set 'I_4}) : #|C| = 2%N -> exists A B, split_attack C 3 A B.
Proof. by move=> c; apply: threshold_tight; rewrite card_ord c. Qed.

(* antisymmetry of the masks alone is not enough in Z/2^k *)
Example antisym_not_enough : exists m : 'I_1 -> 'I_1 -> 'Z_4,
  (forall i j, m j i = - m i j) /\ \sum_i \sum_j m i j != 0.
Proof.
exists (fun _ _ => inZp 2); split=> [i j|]; first by apply/val_inj.
by rewrite !big_ord1.
Qed.

(* masks must never be reused: two rounds with the same masks leak the difference *)
Theorem mask_reuse_leaks (T E : finType) (src tgt : E -> T) (R : finZmodType)
  (x x' : {ffun T -> R}) (s : {ffun E -> R}) : view src tgt x s - view src tgt x' s = x - x'.
Proof. by rewrite /view opprD addrACA subrr addr0. Qed.

(* if a self mask and all pairwise masks of client i become known, x_i itself is exposed *)
Theorem both_known_exposes (T E : finType) (src tgt : E -> T) (K : pred E) (A : {set T}) i :
  i \in A -> (forall e, (src e == i) || (tgt e == i) -> K e) -> exposed src tgt K A i.
Proof.
move=> iA Ke; apply/forallP=> j; apply/implyP=> /connectP[[|k p] /=]; first by move=> _ ->.
by case/andP=> /existsP[e /andP[/= /negP nKe /orP[/andP[/eqP si _]|/andP[_ /eqP ti]]]] _ _;
  case: nKe; apply: Ke; rewrite ?si ?ti eqxx ?orbT.
Qed.
