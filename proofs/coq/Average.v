(* Expectations over finite uniform choices, in any ordered field: the language
   in which Generator.v and SharedSeeds.v state advantages.                      *)
From mathcomp Require Import all_ssreflect ssralg ssrnum.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Average.
Variable F : realFieldType.
(* The expectation of f under the uniform distribution on a finite type. *)
Definition avg (T : finType) (f : T -> F) : F := (#|T|%:R)^-1 * \sum_t f t.

Lemma eq_avg (T : finType) (f g : T -> F) : f =1 g -> avg f = avg g.
Proof. by move=> fg; rewrite /avg; congr (_ * _); apply: eq_bigr. Qed.

Lemma avg_pair (T U : finType) (f : T * U -> F) : avg f = avg (fun t => avg (fun u => f (t, u))).
Proof.
rewrite /avg card_prod natrM invfM -mulrA -mulr_sumr; congr (_ * (_ * _)).
by rewrite pair_bigA; apply: eq_bigr => -[].
Qed.

Lemma avg_const (T : finType) (t0 : T) c : avg (fun _ : T => c) = c.
Proof.
rewrite /avg sumr_const -[c *+ _]mulr_natl mulrA mulVf ?mul1r // pnatr_eq0 -lt0n.
by apply/card_gt0P; exists t0.
Qed.

Lemma avg_bij (T U : finType) (h : T -> U) (f : U -> F) : bijective h -> avg (f \o h) = avg f.
Proof.
move=> bh; rewrite /avg (bij_eq_card bh); congr (_ * _).
by rewrite [RHS](reindex h) //; apply: onW_bij.
Qed.

Lemma avg_swap (T U : finType) (f : T -> U -> F) :
  avg (fun t => avg (fun u => f t u)) = avg (fun u => avg (fun t => f t u)).
Proof. by rewrite /avg -!mulr_sumr mulrCA exchange_big. Qed.

(* Resampling one coordinate does not change the distribution. *)
Definition upd (E : finType) (S : Type) (k : {ffun E -> S}) e v : {ffun E -> S} :=
  [ffun e' => if e' == e then v else k e'].
Lemma avg_resample (E S : finType) (e : E) (f : {ffun E -> S} -> F) (v0 : S) :
  avg (fun k => avg (fun v => f (upd k e v))) = avg f.
Proof.
pose h (kv : {ffun E -> S} * S) := (upd kv.1 e kv.2, kv.1 e).
have hK : involutive h.
  move=> [k v]; rewrite /h /=; congr (_, _); last by rewrite ffunE eqxx.
  by apply/ffunP=> e'; rewrite !ffunE; case: eqP => [->|].
rewrite -(avg_pair (fun kv => f (upd kv.1 e kv.2))).
rewrite -[LHS]/(avg ((fun kv : _ * _ => f kv.1) \o h)) avg_bij; last by exists h.
by rewrite avg_pair; apply: eq_avg => k; rewrite /= avg_const.
Qed.
End Average.
