(* securefl.secagg.masking on the complete graph (the default): the exact number
   of mask assignments that explain a view. n clients, R the group of vectors.  *)
From mathcomp Require Import all_ssreflect ssralg finalg zmodp.
From SecureFL Require Import Fibre Hiding.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Complete.
Variables (n' : nat) (R : finZmodType).
Local Notation n := n'.+1.
Definition pair_lt := [pred e : 'I_n * 'I_n | (e.1 < e.2)%N].
Definition edge := {e : 'I_n * 'I_n | pair_lt e}.
Definition esrc (e : edge) := (val e).1.
Definition etgt (e : edge) := (val e).2.
Definition mk (i j : 'I_n) : option edge := insub (i, j).
(* the mask shared by i < j *)
Definition mask (s : {ffun edge -> R}) i j := if mk i j is Some e then s e else 0.

Lemma edge_conn i j : connect (adj esrc etgt predT) i j.
Proof.
have H (k l : 'I_n) (kl : (k < l)%N) : connect (adj esrc etgt predT) k l.
  by apply/connect1/existsP; exists (exist _ (k, l) kl); rewrite /esrc /etgt /= !eqxx.
case: (ltngtP i j) => [|ji|/val_inj->]; [exact: H| |exact: connect0].
by rewrite connectC; apply: H.
Qed.

Lemma card_edge : #|{: edge}| = 'C(n, 2).
Proof.
rewrite card_sig -triangular_sum -sum1_card big_mkcond /=.
rewrite -(pair_bigA _ (fun i j : 'I_n => if (i < j)%N then 1%N else 0%N)) exchange_big /= big_mkord.
apply: eq_bigr => j _; rewrite -big_mkcond /=.
by rewrite -(big_ord_widen n (fun=> 1%N)) ?sum1_card ?card_ord // ltnW.
Qed.

Lemma mkE e : mk (esrc e) (etgt e) = Some e.
Proof. by rewrite /mk -surjective_pairing valK. Qed.

Notation cview := (view esrc etgt (R := R)).

(* The abstract view *is* the protocol's upload. *)
Lemma viewE (x : {ffun 'I_n -> R}) s i : cview x s i =
  x i + \sum_(j : 'I_n | (i < j)%N) mask s i j - \sum_(j : 'I_n | (j < i)%N) mask s j i.
Proof.
rewrite !ffunE addrA; congr (_ + _ - _).
  rewrite [RHS](reindex_omap etgt (mk i)) => [|j ij]; last by rewrite /mk insubT.
  apply: eq_big => [e|e /eqP<-]; last by rewrite /mask mkE.
  apply/eqP/andP => [<-|[_ /eqP]]; first by rewrite mkE eqxx; case: e.
  by rewrite /mk; case: insubP => // u _ uE [<-]; rewrite /esrc uE.
rewrite [RHS](reindex_omap esrc (mk^~ i)) => [|j ij]; last by rewrite /mk insubT.
apply: eq_big => [e|e /eqP<-]; last by rewrite /mask mkE.
apply/eqP/andP => [<-|[_ /eqP]]; first by rewrite mkE eqxx; case: e.
by rewrite /mk; case: insubP => // u _ uE [<-]; rewrite /etgt uE.
Qed.

Theorem complete_count_scaled (x y : {ffun 'I_n -> R}) : \sum_i x i = \sum_i y i ->
  (#|[set s | cview x s == y]| * #|R| ^ n = #|R| ^ ('C(n, 2)).+1)%N.
Proof.
move=> xy; have := connected_count (@edge_conn) ord0 xy.
by rewrite card_ord card_edge => ->; rewrite -expnSr.
Qed.

Theorem complete_count (x y : {ffun 'I_n -> R}) : \sum_i x i = \sum_i y i ->
  #|[set s | cview x s == y]| = (#|R| ^ ('C(n', 2)))%N.
Proof.
move=> /complete_count_scaled; rewrite binS bin1 -addnS expnD => /eqP.
by rewrite eqn_mul2r expn_eq0 -cardsT cards_eq0 => /orP[/andP[/eqP/setP/(_ 0)]|/eqP]; rewrite ?inE.
Qed.

Theorem complete_nothing_else (x y : {ffun 'I_n -> R}) s :
  \sum_i x i != \sum_i y i -> cview x s != y.
Proof. by apply: connected_count0; [exact: edge_conn|exact: ord0]. Qed.
End Complete.

(* The instance the code uses: vectors of d words of k bits. *)
Corollary complete_words n' d k (x y : {ffun 'I_n'.+1 -> {ffun 'I_d -> 'Z_(2 ^ k)}}) :
  \sum_i x i = \sum_i y i ->
  #|[set s | view (@esrc n') (@etgt n') x s == y]| = ((#|'Z_(2 ^ k)| ^ d) ^ ('C(n', 2)))%N.
Proof. by move=> xy; rewrite (complete_count xy) card_ffun (card_ord d). Qed.
