(* securefl.federation.guards: a first-layer row is withheld unless at least k of the
   partner's own compounds have its bit. What the operator can learn of a withheld row.
   n compounds, bits B, x i b: compound i has bit b. The first layer is linear in the
   batch, so its update is row b = sum of lam i over the compounds i that have b, where
   lam i is the gradient at the hidden layer.
   With lam given, the guarded update determines exactly which rows are withheld and the
   columns of the released bits; of a withheld column nothing but that its support is
   under k.
   Not here, and shown in Controls.v not to hold: that lam itself is independent of a
   withheld bit. The local forward pass still uses the bit with the global row, so other
   rows can carry a trace of it; forward_leaks in Controls.v is an example.            *)
From mathcomp Require Import all_ssreflect ssralg.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section SupportGuard.
Variables (n k : nat) (B : finType) (V : zmodType).
Implicit Types (x : 'I_n -> B -> bool) (lam : 'I_n -> V).

Definition support x b := #|[set i | x i b]|.
Definition released x b := (k <= support x b)%N.
Definition row x lam b : V := \sum_(i | x i b) lam i.
Definition guarded x lam b : V := if released x b then row x lam b else 0.

Definition same_released x x' :=
  (forall b, released x b = released x' b) /\ (forall b i, released x b -> x i b = x' i b).

(* Two datasets that agree on the released columns give the same update: a withheld
   column can be anything of support under k.                                         *)
Theorem guard_hides x x' lam : same_released x x' -> guarded x lam =1 guarded x' lam.
Proof.
move=> [same cols] b; rewrite /guarded -same; case: ifP => // rb.
by apply: eq_bigl => i; apply: cols.
Qed.

(* The same over any number of rounds: the support does not change, so the withheld rows
   are the same in every round, and the union over rounds tells no more.              *)
Corollary guard_hides_rounds x x' (lams : seq ('I_n -> V)) b : same_released x x' ->
  [seq guarded x lam b | lam <- lams] = [seq guarded x' lam b | lam <- lams].
Proof. by move=> same; apply: eq_map => lam; apply: guard_hides. Qed.

(* And nothing less: the guarded update of all gradients tells the released columns and
   which rows are withheld.                                                           *)
Theorem guard_leaks_exactly x x' (v : V) : (0 < k)%N -> v != 0 ->
  (forall lam, guarded x lam =1 guarded x' lam) <-> same_released x x'.
Proof.
move=> k0 v0; split=> [eqv|same lam]; last exact: guard_hides.
have val y i b : guarded y (fun j => if j == i then v else 0) b = if released y b && y i b then v else 0.
  rewrite /guarded /row; case: ifP => //= _; rewrite -big_mkcondr /=; case: ifP => yi.
    by rewrite (big_pred1 i) // => j /=; case: eqP => [->|]; rewrite ?yi ?andbF.
  by rewrite big_pred0 // => j; case: eqP => [->|]; rewrite ?yi ?andbF.
have same i b : released x b && x i b = released x' b && x' i b.
  have := eqv (fun j => if j == i then v else 0) b; rewrite !val.
  by case: (_ && _); case: (_ && _) => // /eqP; rewrite ?(negPf v0) // eq_sym (negPf v0).
have some y b : released y b -> exists i, y i b.
  move=> rb; have /card_gt0P[i] : (0 < #|[set i | y i b]|)%N by apply: leq_trans rb.
  by rewrite inE; exists i.
have rel b : released x b = released x' b.
  apply/idP/idP => rb; have [i yi] := some _ _ rb; have := same i b; rewrite rb yi /=.
    by case/esym/andP.
  by case/andP.
by split=> // b i rb; have := same i b; rewrite -rel rb.
Qed.

(* How many columns a withheld row leaves possible. *)
Theorem withheld_columns : #|[set s : {set 'I_n} | (#|s| < k)%N]| = (\sum_(j < k) 'C(n, j))%N.
Proof.
rewrite -sum1_card (partition_big (fun s : {set 'I_n} => inord #|s| : 'I_k.-1.+1) predT) //=.
case: k => [|k'] /=.
  by rewrite big_ord0 big1 // => i _; rewrite big_pred0 // => s; rewrite inE ltn0.
apply: eq_bigr => j _; rewrite -[in RHS](card_ord n) -cardsT -cards_draws sum1_card.
apply: eq_card => s; rewrite !inE subsetT /= -topredE /= inE.
have [sk|ks] /= := ltnP #|s| k'.+1; first by rewrite -(inj_eq val_inj) /= inordK.
by apply/esym/eqP => e; have := ltn_ord j; rewrite -e ltnNge ks.
Qed.

(* In an opened sum, a row is either untouched by a partner or mixes at least k of its
   compounds: what is released is never one compound's gradient if k > 1.             *)
Theorem released_mixes x lam b : guarded x lam b != 0 ->
  exists S : {set 'I_n}, (k <= #|S|)%N /\ guarded x lam b = \sum_(i in S) lam i.
Proof.
rewrite /guarded; case: ifP => [rb _|]; last by rewrite eqxx.
by exists [set i | x i b]; split=> //; apply: eq_bigl => i; rewrite inE.
Qed.
End SupportGuard.
