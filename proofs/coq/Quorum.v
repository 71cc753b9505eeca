(* The rule 2t > n + c of securefl.secagg.masking. A malicious operator that tells
   clients different survivor sets needs t shares of a client's self-mask seed and
   t shares of its mask key. An honest client gives one of the two, a corrupted
   one both. The attack exists exactly when 2t <= n + c.                        *)
From mathcomp Require Import all_ssreflect zify.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Section Quorum.
Variables (I : finType) (C : {set I}) (t : nat).

(* A: honest clients answering "i survived"; B: honest clients answering "i dropped" *)
Definition split_attack (A B : {set I}) :=
  [&& A :&: B == set0, A :&: C == set0, B :&: C == set0,
      t <= #|A :|: C| & t <= #|B :|: C|].

Theorem threshold_safe : #|I| + #|C| < 2 * t -> forall A B, ~~ split_attack A B.
Proof.
move=> tI A B; apply/negP => /and5P[/eqP AB /eqP AC /eqP BC tA tB].
have := max_card (mem (A :|: B :|: C)); move: tA tB.
rewrite !cardsU AB AC BC setIUl AC BC setU0 cards0 !subn0; lia.
Qed.

(* Tight: with any smaller threshold the attack exists (2t <= n + c). *)
Theorem threshold_tight : 2 * t <= #|I| + #|C| -> exists A B, split_attack A B.
Proof.
move=> tI; have: 2 * (t - #|C|) <= #|~: C| by have := cardsC C; lia.
set m := t - #|C| => /card_geqP[s [us ss sC]].
have tm : size (take m s) = m by rewrite size_take ss; case: ltngtP; lia.
have dm : size (drop m s) = m by rewrite size_drop ss; lia.
move: us; rewrite -(cat_take_drop m s) cat_uniq => /and3P[ut /hasPn dis ud].
exists [set x in take m s], [set x in drop m s]; apply/and5P.
have disC u : {subset u <= s} -> [set x in u] :&: C = set0.
  move=> us; apply/setP=> x; rewrite !inE; apply/negP => /andP[/us/sC xs xC].
  by move: xs; rewrite !inE xC.
have sub1 : {subset take m s <= s} by move=> x; apply: mem_take.
have sub2 : {subset drop m s <= s} by move=> x; apply: mem_drop.
rewrite !disC // !cardsU !disC // cards0 !subn0 !cardsE (card_uniqP ut) (card_uniqP ud) tm dm.
split=> //; try lia.
by apply/eqP/setP=> x; rewrite !inE; apply/negP => /andP[xt /dis]; rewrite /= xt.
Qed.
End Quorum.
