(* securefl.secagg.masking: what uploads and revealed masks tell, on an arbitrary
   masking graph, with uniform masks. The view leaks exactly the sums over the
   exposed connected components, nothing more and nothing less.
   Model: T clients, E pairs that share a mask (+ at the source, - at the target).
   Masks are uniform here; masks from a generator are Generator.v.             *)
From mathcomp Require Import all_ssreflect ssralg finalg zmodp.
From SecureFL Require Import Fibre.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Graph.
Variables (T E : finType) (src tgt : E -> T) (R : finZmodType).
Implicit Types (s : {ffun E -> R}) (x y z : {ffun T -> R}) (P : pred E).

(* What the masks add to every client's vector: + at the source, - at the target. *)
Definition boundary_fun s : {ffun T -> R} :=
  [ffun i => \sum_(e | src e == i) s e - \sum_(e | tgt e == i) s e].

Lemma boundary_is_additive : additive boundary_fun.
Proof.
move=> s s'; apply/ffunP=> i; rewrite !ffunE.
rewrite (eq_bigr (fun e => s e - s' e)) => [|e _]; last by rewrite !ffunE.
rewrite [X in _ - X](eq_bigr (fun e => s e - s' e)) => [|e _]; last by rewrite !ffunE.
by rewrite !sumrB !opprB -!addrA; congr (_ + _); rewrite addrCA [RHS]addrCA; congr (_ + _); apply: addrC.
Qed.
Canonical boundary := Additive boundary_is_additive.

(* Connectivity using only the edges in P. *)
Definition adj P : rel T := fun i j =>
  [exists e, P e && (((src e == i) && (tgt e == j)) || ((src e == j) && (tgt e == i)))].
Lemma adj_sym P : symmetric (adj P).
Proof. by move=> i j; apply: eq_existsb => e; rewrite orbC. Qed.
Lemma connectC P : connect_sym (adj P).
Proof. exact: sym_connect_sym (adj_sym P). Qed.

(* Sum over the connected component of i. *)
Definition component_sum P z (i : T) : R := \sum_(j | connect (adj P) i j) z j.

(* Masks supported on P change no component sum ... *)
Lemma component_sum_boundary P s i : (forall e, ~~ P e -> s e = 0) -> component_sum P (boundary s) i = 0.
Proof.
move=> sP; rewrite /component_sum.
rewrite (eq_bigr (fun j => \sum_(e | src e == j) s e - \sum_(e | tgt e == j) s e)) => [|j _];
  last by rewrite ffunE.
rewrite sumrB (exchange_big_dep predT) //= [X in _ - X](exchange_big_dep predT) //=.
rewrite -sumrB big1 // => e _.
have -> : forall f : E -> T, \sum_(j | connect (adj P) i j && (f e == j)) s e
        = if connect (adj P) i (f e) then s e else 0.
  move=> f; case: ifP => c; last by rewrite big_pred0 // => j; case: eqP => [<-|]; rewrite ?c ?andbF.
  by rewrite (big_pred1 (f e)) // => j; rewrite eq_sym /=; case: eqP => [->|]; rewrite ?c ?andbF.
have -> : forall f : E -> T, \sum_(j | connect (adj P) i j && (f e == j)) s e
        = if connect (adj P) i (f e) then s e else 0.
  move=> f; case: ifP => c; last by rewrite big_pred0 // => j; case: eqP => [<-|]; rewrite ?c ?andbF.
  by rewrite (big_pred1 (f e)) // => j; rewrite eq_sym /=; case: eqP => [->|]; rewrite ?c ?andbF.
case Pe: (P e); last by rewrite sP ?Pe //; do 2!case: ifP; rewrite ?subrr.
have /(same_connect_r (@connectC P))-> : connect (adj P) (src e) (tgt e).
  by apply/connect1/existsP; exists e; rewrite Pe !eqxx.
by rewrite subrr.
Qed.

(* ... and every change that preserves all component sums is reachable. *)
Definition reach P z := exists s, (forall e, ~~ P e -> s e = 0) /\ boundary s = z.

Lemma reach0 P : reach P 0.
Proof. by exists 0; split=> [e _|]; rewrite ?ffunE // raddf0. Qed.
Lemma reachB P z z' : reach P z -> reach P z' -> reach P (z - z').
Proof.
case=> s [sP <-] [s' [sP' <-]]; exists (s - s'); split; last by rewrite raddfB.
by move=> e Pe; rewrite !ffunE sP ?sP' ?subr0.
Qed.
Lemma reachN P z : reach P z -> reach P (- z).
Proof. by rewrite -[- z]add0r; apply: reachB; apply: reach0. Qed.
Lemma reachD P z z' : reach P z -> reach P z' -> reach P (z + z').
Proof. by move=> rz rz'; rewrite -[z']opprK; apply: reachB => //; apply: reachN. Qed.

Definition dlt (i : T) (r : R) : {ffun T -> R} := [ffun k => if k == i then r else 0].

Lemma reach_edge P e r : P e -> reach P (dlt (src e) r - dlt (tgt e) r).
Proof.
move=> Pe; exists [ffun e' => if e' == e then r else 0]; split=> [e'|].
  by rewrite ffunE; case: eqP => // ->; rewrite Pe.
apply/ffunP=> i; rewrite !ffunE.
have H (f : E -> T) : \sum_(e' | f e' == i) [ffun e'0 => if e'0 == e then r else 0] e' =
                      (if i == f e then r else 0) :> R.
  rewrite big_mkcond (bigD1 e) //= !ffunE eqxx eq_sym big1 ?addr0 // => e' /negPf ne.
  by rewrite ffunE ne if_same.
by rewrite !H.
Qed.

Lemma reach_connect P i j r : connect (adj P) i j -> reach P (dlt i r - dlt j r).
Proof.
case/connectP=> p; elim: p i => [|k p IH] i /= => [_ ->|/andP[/existsP[e /andP[Pe ik]] pk] jl].
  by rewrite subrr; apply: reach0.
rewrite -[dlt i r](subrK (dlt k r)) -addrA; apply: reachD; last exact: IH.
case/orP: ik => /andP[/eqP<- /eqP<-]; first exact: reach_edge.
by rewrite -opprB; apply/reachN/reach_edge.
Qed.

Lemma ffun_dlt z : z = \sum_i dlt i (z i).
Proof.
apply/ffunP=> k; rewrite sum_ffunE (bigD1 k) //= ffunE eqxx big1 ?addr0 // => i /negPf ne.
by rewrite ffunE eq_sym ne.
Qed.

Theorem reachE P z : reach P z <-> forall i, component_sum P z i = 0.
Proof.
split=> [[s [sP <-]] i|z0]; first exact: component_sum_boundary.
have -> : z = \sum_i (dlt i (z i) - dlt (root (adj P) i) (z i)).
  rewrite sumrB -ffun_dlt -[LHS]subr0; congr (_ - _); apply/ffunP=> k.
  rewrite sum_ffunE ffunE; case: (boolP (roots (adj P) k)) => rk; last first.
    rewrite big1 // => i _; rewrite ffunE; case: eqP => // kr.
    by rewrite kr roots_root // in rk; apply: connectC.
  rewrite -{1}(z0 k) /component_sum [LHS]big_mkcond; apply: eq_bigr => i _; rewrite ffunE.
  by rewrite -(root_connect (@connectC P)) (eqP rk).
by apply: (big_ind (reach P)) => [|? ?|i _]; [apply: reach0|apply: reachD|apply/reach_connect/connect_root].
Qed.

Definition view x s := x + boundary s.
Notation "x ~[ P ] y" := (forall i, component_sum P x i = component_sum P y i) (at level 70).

Lemma component_sumB P x y i : component_sum P (x - y) i = component_sum P x i - component_sum P y i.
Proof. by rewrite /component_sum -sumrB; apply: eq_bigr => j _; rewrite !ffunE. Qed.

Lemma component_sumD P x y i : component_sum P (x + y) i = component_sum P x i + component_sum P y i.
Proof. by rewrite /component_sum -big_split; apply: eq_bigr => j _; rewrite !ffunE. Qed.
Lemma component_sum0 P i : component_sum P 0 i = 0.
Proof. by rewrite /component_sum big1 // => j _; rewrite ffunE. Qed.

Lemma reach_predT x x' : (exists s, boundary s = x' - x) <-> x ~[predT] x'.
Proof.
split=> [[s bs] i|xx'].
  have /reachE : reach predT (x' - x) by exists s; split.
  by move/(_ i); rewrite component_sumB => /eqP; rewrite subr_eq0 => /eqP.
suff /reachE[s [_ bs]] : forall i, component_sum predT (x' - x) i = 0 by exists s.
by move=> i; rewrite component_sumB xx' subrr.
Qed.

(* If all component sums agree, every view is produced by equally many masks. *)
Theorem masking_hides x x' : x ~[predT] x' ->
  forall y, #|[set s | view x s == y]| = #|[set s | view x' s == y]|.
Proof. by move=> xx' y; apply: (perfect_hiding (L := boundary)); apply/reach_predT. Qed.

(* If one differs, no view is possible under both: nothing beyond, nothing less. *)
Theorem masking_leaks x x' i : component_sum predT x i != component_sum predT x' i ->
  forall s s', view x s != view x' s'.
Proof.
move=> nxx' s s'; apply: contra_neq nxx' => vv.
have: component_sum predT (view x s) i = component_sum predT (view x' s') i by rewrite vv.
have H u t : component_sum predT (u + boundary t) i = component_sum predT u i.
  by rewrite component_sumD component_sum_boundary // addr0.
by rewrite /view !H.
Qed.


(* The full view: self masks, dropouts, late uploads, corruptions.
   K  : edges whose pairwise mask the adversary ends up knowing (edges to
        corrupted clients, edges of dropped clients reconstructed by the server)
   A  : clients whose self mask b_i the adversary ends up knowing (survivors)
   The adversary sees every upload, including late ones of "dropped" clients. *)
Section FullView.
Variables (K : pred E) (A : {set T}).
Let P := predC K.
Implicit Types b : {ffun T -> R}.

Definition leak_fun (m : {ffun E -> R} * {ffun T -> R}) :
    {ffun T -> R} * ({ffun T -> R} * {ffun E -> R}) :=
  (m.2 + boundary m.1, ([ffun i => if i \in A then m.2 i else 0], [ffun e => if K e then m.1 e else 0])).
Lemma leak_is_additive : additive leak_fun.
Proof.
move=> [s b] [s' b']; rewrite /leak_fun /=; congr (_, (_, _)) => /=.
- by rewrite (raddfB boundary) opprD addrACA.
- by apply/ffunP=> i; rewrite !ffunE; case: ifP; rewrite ?subr0.
- by apply/ffunP=> i; rewrite !ffunE; case: ifP; rewrite ?subr0.
Qed.
Canonical leak := Additive leak_is_additive.

(* (uploads, revealed self masks, revealed pairwise masks) *)
Definition full_view x m := (x, (0, 0)) + leak m.

(* A component is exposed when all its self masks are known. *)
Definition exposed i := [forall j, connect (adj P) i j ==> (j \in A)].

Lemma reach_upto z : (forall i, exposed i -> component_sum P z i = 0) ->
  exists b, (forall i, i \in A -> b i = 0) /\ reach P (z - b).
Proof.
move=> z0; pose pk i := [pick j | connect (adj P) i j && (j \notin A)].
pose rp i := odflt i (pk (root (adj P) i)).
have rpC i : connect (adj P) i (rp i).
  rewrite /rp /pk; case: pickP => [j /andP[ij _]|_] /=; last exact: connect0.
  exact: connect_trans (connect_root _ i) ij.
have rpE i j : connect (adj P) i j -> pk (root (adj P) i) = pk (root (adj P) j).
  by move=> ij; rewrite (rootP (@connectC P) ij).
have pkA i : if pk (root (adj P) i) is Some j then j \notin A else true.
  by rewrite /pk; case: pickP => // j /andP[].
exists (\sum_i dlt (rp i) (if pk (root (adj P) i) is Some _ then z i else 0)); split=> [k kA|].
  rewrite sum_ffunE big1 // => i _; rewrite ffunE; case: eqP => // kE; move: kA.
  by rewrite kE /rp; case: (pk _) (pkA i) => //= j /negPf->.
rewrite {1}[z]ffun_dlt -sumrB (bigID (fun i => pk (root (adj P) i))) /= ; apply: reachD.
  apply: (big_ind (reach P)) => [|? ?|i]; [exact: reach0|exact: reachD|].
  by move=> pi; case: (pk _) pi => // j _; apply: reach_connect.
apply/reachE => i; rewrite /component_sum.
have [pi|npi] := boolP (isSome (pk (root (adj P) i))).
  rewrite big1 // => j ij; rewrite sum_ffunE big1 // => k /negPf npk.
  move: npk; rewrite !ffunE; case: eqP => [<-|_]; last by case: (pk _) => //; case: eqP; rewrite ?subr0.
  by rewrite -(rpE _ _ ij) pi.
rewrite -[RHS](z0 i).
  apply: eq_bigr => j ij; rewrite sum_ffunE (bigD1 j) /=; last by rewrite -(rpE _ _ ij).
  rewrite !ffunE eqxx -(rpE _ _ ij); case: (pk _) npi => //= _.
  rewrite if_same subr0 big1 ?addr0 // => k /andP[npk /negPf nkj].
  by rewrite !ffunE eq_sym nkj; case: (pk _) npk => //= _; rewrite if_same subr0.
apply/forallP=> j; apply/implyP=> ij; apply: contraNT npi => jA.
rewrite /pk; case: pickP => // /(_ j); rewrite jA andbT.
by rewrite (connect_trans _ ij) // (connectC P) connect_root.
Qed.

Lemma leak_image z : (exists m, leak m = (z, (0, 0))) <-> (forall i, exposed i -> component_sum P z i = 0).
Proof.
split=> [[[s b] [<- bA sK]] i /forallP ex|/reach_upto[b [bA [s [sP bs]]]]].
  rewrite /= component_sumD [X in _ + X](component_sum_boundary (s := s)) ?addr0 => [|e]; last first.
    by rewrite negbK => Ke; move/ffunP/(_ e): sK; rewrite !ffunE Ke.
  rewrite /component_sum big1 // => j ij; move/ffunP/(_ j): bA.
  by rewrite !ffunE (implyP (ex j) ij).
exists (s, b); rewrite /= /leak_fun /=; congr (_, (_, _)).
- by have -> : boundary_fun s = z - b by []; rewrite addrC subrK.
- by apply/ffunP=> i; rewrite !ffunE; case: ifP => // /bA.
- by apply/ffunP=> e; rewrite !ffunE; case: ifP => // Ke; apply: sP; rewrite negbK.
Qed.

(* Exact leakage: equal sums on exposed components <=> identical view distribution. *)
Theorem round_hides x x' : (forall i, exposed i -> component_sum P x i = component_sum P x' i) ->
  forall v, #|[set m | full_view x m == v]| = #|[set m | full_view x' m == v]|.
Proof.
move=> xx' v; apply: (perfect_hiding (L := leak)).
have /leak_image[m Lm] : forall i, exposed i -> component_sum P (x' - x) i = 0.
  by move=> i ei; rewrite component_sumB xx' ?subrr.
by exists m; rewrite Lm; congr (_, _); rewrite subrr.
Qed.

Theorem round_leaks x x' i : exposed i -> component_sum P x i != component_sum P x' i ->
  forall m m', full_view x m != full_view x' m'.
Proof.
move=> ei nxx' m m'; apply: contra_neq nxx' => vv.
have /leak_image/(_ i ei) : exists m, leak m = (x' - x, (0, 0)).
  exists (m - m'); rewrite raddfB; move/eqP: vv.
  rewrite /full_view -subr_eq0 opprD addrACA addr_eq0 => /eqP/esym/eqP.
  by rewrite eqr_oppLR => /eqP ->; congr (_, _); rewrite /= ?opprB ?subrr ?oppr0.
by rewrite component_sumB => /eqP; rewrite subr_eq0 => /eqP.
Qed.

(* Both directions in one statement, about the whole distribution of the view. *)
Theorem round_hides_iff x x' :
  (forall v, #|[set m | full_view x m == v]| = #|[set m | full_view x' m == v]|) <->
  (forall i, exposed i -> component_sum P x i = component_sum P x' i).
Proof.
split=> [same i ei|]; last exact: round_hides.
apply/eqP; apply: contraT => ne; have := same (full_view x 0).
suff -> : #|[set m | full_view x' m == full_view x 0]| = 0%N.
  by move/eqP; rewrite cards_eq0 => /eqP/setP/(_ 0); rewrite !inE eqxx.
apply: eq_card0 => m; rewrite !inE eq_sym; apply/negbTE.
exact: (round_leaks ei ne).
Qed.

End FullView.

(* Adaptive adversary: what gets revealed may depend on the uploads already seen. *)
Section Adaptive.
Variable st : {ffun T -> R} -> pred E * {set T}.
Definition transcript x (m : {ffun E -> R} * {ffun T -> R}) :=
  let y := x + (m.2 + boundary m.1) in full_view (st y).1 (st y).2 x m.

Theorem round_hides_adaptive x x' :
  (forall y i, exposed (st y).1 (st y).2 i -> component_sum (predC (st y).1) x i = component_sum (predC (st y).1) x' i) ->
  forall v, #|[set m | transcript x m == v]| = #|[set m | transcript x' m == v]|.
Proof.
move=> xx' v.
have H u : [set m | transcript u m == v] = [set m | full_view (st v.1).1 (st v.1).2 u m == v].
  apply/setP=> m; rewrite !inE /transcript /full_view /leak_fun; case: v => v1 v2 /=.
  by apply/eqP/eqP => E1; have Ev : u + (m.2 + boundary m.1) = v1 by [case: E1]; rewrite Ev in E1 *.
by rewrite !H; apply: round_hides; apply: xx'.
Qed.
End Adaptive.

(* Connected graph: exact counts. *)
Section Connected.
Hypothesis conn : forall i j, connect (adj predT) i j.
Variable t0 : T.

Definition tot_fun z : R := \sum_i z i.
Lemma tot_is_additive : additive tot_fun.
Proof. by move=> z z'; rewrite /tot_fun -sumrB; apply: eq_bigr => i _; rewrite !ffunE. Qed.
Canonical tot := Additive tot_is_additive.

Lemma component_sum_conn z i : component_sum predT z i = tot z.
Proof. by apply: eq_bigl => j; rewrite conn. Qed.

Lemma card_sum_fibre : (#|fibre tot 0%R| * #|R| = #|R| ^ #|T|)%N.
Proof.
rewrite -card_ffun (card_image_ker tot) mulnC; congr (_ * _)%N.
rewrite -cardsT; congr #|pred_of_set _|; apply/setP=> r; rewrite inE; apply/esym/imsetP.
exists (dlt t0 r) => //=; rewrite /tot_fun (bigD1 t0) //= ffunE eqxx big1 ?addr0 // => i /negPf ni.
by rewrite ffunE ni.
Qed.

Theorem connected_count x y : tot x = tot y ->
  (#|[set s | view x s == y]| * #|R| ^ #|T| = #|R| ^ #|E| * #|R|)%N.
Proof.
move=> xy; have xy' : exists s, boundary s = y - x.
  by apply/reach_predT=> i; rewrite !component_sum_conn.
rewrite -[#|[set s | _]|]/#|views boundary x y| views_count (introT existsP); last first.
  by case: xy' => s <-; exists s.
rewrite -card_sum_fibre mulnA -[(_ ^ #|E|)%N]card_ffun (card_image_ker boundary); congr (_ * _)%N.
rewrite mulnC; congr (_ * _)%N; congr #|pred_of_set _|; apply/setP=> z; rewrite !inE.
apply/idP/imsetP => [/eqP z0|[s _ ->]].
  have /reachE[s [_ <-]] : forall i, component_sum predT z i = 0 by move=> i; rewrite component_sum_conn.
  by exists s.
by rewrite -(component_sum_conn _ t0) component_sum_boundary.
Qed.

Corollary connected_count0 x y s : tot x != tot y -> view x s != y.
Proof.
move=> xy; have := @masking_leaks x y t0; rewrite !component_sum_conn => /(_ xy s 0).
by rewrite /view [boundary 0]raddf0 addr0.
Qed.
End Connected.

End Graph.
