(* Fibres of an additive map between finite abelian groups have equal size. This
   is the information-theoretic core of every hiding statement in this folder:
   a view x + L m, with m uniform, is distributed alike for two inputs x and x'
   if x' - x is in the image of L, and otherwise no view fits both.            *)
From mathcomp Require Import all_ssreflect ssralg finalg.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Canonical ffun_finZmodType (T : finType) (R : finZmodType) :=
  Eval hnf in [finZmodType of {ffun T -> R}].
Canonical pair_finZmodType (U V : finZmodType) :=
  Eval hnf in [finZmodType of (U * V)%type].

Section Fibre.
Variables (M W : finZmodType) (L : {additive M -> W}).

Definition fibre (w : W) : {set M} := [set m | L m == w].

Lemma card_fibre m0 : #|fibre (L m0)| = #|fibre 0|.
Proof.
rewrite -(card_imset (fibre 0) (addrI m0)); apply: eq_card => m.
apply/idP/imsetP => [|[k]]; rewrite !inE.
  move=> /eqP Lm; exists (m - m0); last by rewrite addrC subrK.
  by rewrite inE raddfB Lm subrr.
by move=> /eqP Lk ->; rewrite raddfD Lk addr0.
Qed.

(* The number of random choices that turn input x into view y. *)
Definition views (x y : W) : {set M} := [set m | x + L m == y].

Lemma views_fibre x y : views x y = fibre (y - x).
Proof. by apply/setP=> m; rewrite !inE [in RHS]eq_sym subr_eq addrC eq_sym. Qed.

Theorem views_count x y :
  #|views x y| = if [exists m, L m == y - x] then #|fibre 0| else 0%N.
Proof.
rewrite views_fibre; case: existsP => [[m /eqP <-]|no]; first exact: card_fibre.
by apply: eq_card0 => m; rewrite inE; apply/negP => Lm; apply: no; exists m.
Qed.

(* Perfect hiding: the view distributions of x and x' coincide as soon as x - x'
   is in the image of the randomness ... *)
Theorem perfect_hiding x x' :
  (exists m, L m = x' - x) -> forall y, #|views x y| = #|views x' y|.
Proof.
case=> m0 Lm0 y; rewrite !views_count; congr (if _ then _ else _).
apply/existsP/existsP => -[m /eqP Lm].
  by exists (m - m0); rewrite raddfB Lm Lm0 opprB addrA subrK.
by exists (m + m0); rewrite raddfD Lm Lm0 addrA subrK.
Qed.

(* ... and only then: otherwise the two views are never confused. *)
Theorem perfect_distinguishing x x' :
  ~ (exists m, L m = x' - x) -> forall y, (#|views x y| == 0%N) || (#|views x' y| == 0%N).
Proof.
move=> no y; rewrite !views_count; case: existsP => [[m /eqP Lm]|_]; last by rewrite eqxx.
case: existsP => [[m' /eqP Lm']|_]; last by rewrite eqxx orbT.
by case: no; exists (m - m'); rewrite raddfB Lm Lm' opprB addrC addrA subrK.
Qed.

Theorem card_image_ker : #|M| = (#|[set L m | m : M]| * #|fibre 0|)%N.
Proof.
rewrite -cardsT -[in LHS]sum1_card (partition_big_imset L) /= -sum_nat_const.
have -> : L @: [set: M] = [set L m | m : M] by apply/setP=> w; apply/imsetP/imsetP=> -[m _ ->]; exists m.
apply: eq_bigr => w /imsetP[m _ ->].
rewrite -(card_fibre m) -sum1_card; apply: eq_bigl => k.
by rewrite !inE.
Qed.

End Fibre.
