(* Distributed noise under dropout (the DESIGN of securefl.dp's partner-level noise):
   every client adds its own noise in the ring before masking, and the sum of the
   survivors is released. Whoever drops out, the noise of the honest survivors that the
   roster guarantees is still inside, and the rest is post-processing.
   The law of a sum of independent noises is their convolution over the ring, so the
   wrap-around modulo 2^k is part of the statement.
   Not here: that a particular noise gives a particular epsilon; samplers.            *)
From mathcomp Require Import all_ssreflect ssralg ssrnum finalg.
From SecureFL Require Import DifferentialPrivacy.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Convolution.
Variables (F : realFieldType) (R : finZmodType).
Implicit Types f g h : {ffun R -> F}.

Definition conv f g : {ffun R -> F} := [ffun r => \sum_s f s * g (r - s)].
Definition no_noise : {ffun R -> F} := [ffun r => (r == 0)%:R].

Lemma convC : commutative conv.
Proof.
move=> f g; apply/ffunP=> r; rewrite !ffunE.
rewrite (reindex (fun s => r - s)) /=; last first.
  by exists (fun s => r - s) => s _; rewrite subKr.
by apply: eq_bigr => s _; rewrite subKr mulrC.
Qed.

Lemma convA : associative conv.
Proof.
move=> f g h; apply/ffunP=> r; rewrite !ffunE.
rewrite [RHS](eq_bigr (fun s => \sum_t f t * g (s - t) * h (r - s))); last first.
  by move=> s _; rewrite ffunE mulr_suml.
rewrite exchange_big /=; apply: eq_bigr => t _; rewrite ffunE mulr_sumr.
rewrite [RHS](reindex (fun u => u + t)) /=; last first.
  by exists (fun s => s - t) => s _; rewrite ?addrK ?subrK.
by apply: eq_bigr => u _; rewrite addrK mulrA opprD addrA addrAC.
Qed.

Lemma conv0 : left_id no_noise conv.
Proof.
move=> f; apply/ffunP=> r; rewrite !ffunE (bigD1 0) //= ffunE eqxx mul1r subr0.
by rewrite big1 ?addr0 // => s /negPf s0; rewrite ffunE s0 mul0r.
Qed.

Lemma conv1 : right_id no_noise conv.
Proof. by move=> f; rewrite convC conv0. Qed.
Canonical conv_monoid := Monoid.Law convA conv0 conv1.
Canonical conv_comoid := Monoid.ComLaw convC.

Lemma conv_pmf f g : is_pmf f -> is_pmf g -> is_pmf (conv f g).
Proof.
move=> [f0 f1] [g0 g1]; split=> [r|]; first by rewrite ffunE sumr_ge0 // => s _; rewrite mulr_ge0.
rewrite (eq_bigr (fun r => \sum_s f s * g (r - s))) => [|r _]; last by rewrite ffunE.
rewrite exchange_big /= -f1; apply: eq_bigr => s _; rewrite -mulr_sumr.
rewrite (reindex (fun u => u + s)) /=; last by exists (fun r => r - s) => r _; rewrite ?addrK ?subrK.
by rewrite (eq_bigr g) ?g1 ?mulr1 // => u _; rewrite addrK.
Qed.

Lemma no_noise_pmf : is_pmf no_noise.
Proof.
split=> [r|]; first by rewrite ffunE ler0n.
by rewrite (bigD1 0) //= ffunE eqxx big1 ?addr0 // => r /negPf r0; rewrite ffunE r0.
Qed.
End Convolution.

Section DistributedNoise.
Variables (F : realFieldType) (I : finType) (R : finZmodType) (X : Type) (adj : X -> X -> Prop).
Variable noise : I -> {ffun R -> F}.
Hypothesis noise_pmf : forall i, is_pmf (noise i).
Variable query : X -> R.                    (* the exact sum that the noise protects *)

(* The law of the noise of the clients in A together. *)
Definition law (A : {set I}) : {ffun R -> F} := \big[@conv F R/@no_noise F R]_(i in A) noise i.
Definition release (A : {set I}) : mech F X R := fun x o => law A (o - query x).

Lemma law_pmf A : is_pmf (law A).
Proof.
apply: (big_ind (fun f : {ffun R -> F} => is_pmf f)); first exact: no_noise_pmf.
  by move=> f g; apply: conv_pmf.
by move=> i _; apply: noise_pmf.
Qed.

(* Every law with at least the noise of H is a post-processing of H's release. *)
Theorem dropout_keeps_privacy (H A : {set I}) a d : H \subset A ->
  dp adj a d (release H) -> dp adj a d (release A).
Proof.
move=> HA dpH x x' xx' S; pose K o o' := law (A :\: H) (o' - o).
have E u : Pr (release A u) S = Pr (post K (release H) u) S.
  apply: eq_bigr => o' _; rewrite /release /post /K /law (big_setID H) /= (setIidPr HA) ffunE.
  rewrite [RHS](reindex (fun s => s + query u)) /=; last first.
    by exists (fun o => o - query u) => o _; rewrite ?addrK ?subrK.
  by apply: eq_bigr => s _; rewrite addrK opprD addrA addrAC.
rewrite !E; apply: (dp_post _ dpH) => // o; have [p0 p1] := law_pmf (A :\: H).
split=> [o'|]; first exact: p0.
by rewrite -p1 (reindex (fun r => r + o)) /=; [apply: eq_bigr => r _; rewrite /K addrK
  | exists (fun r => r - o) => r _; rewrite ?addrK ?subrK].
Qed.

(* The roster's promise: if the noise of any m honest clients suffices, it suffices for
   every survivor set with at least m clients outside the colluding set C, whose own noise
   the colluders may leave out or reveal.                                             *)
Corollary guaranteed_survivors (C A : {set I}) m a d :
  (forall H : {set I}, #|H| = m -> dp adj a d (release H)) ->
  (m <= #|A :\: C|)%N -> dp adj a d (release (A :\: C)).
Proof.
move=> enough /card_geqP[s [us sm sA]].
apply: (@dropout_keeps_privacy [set i in s]); first by apply/subsetP=> i; rewrite !inE => /sA; rewrite inE.
by apply: enough; rewrite cardsE (card_uniqP us).
Qed.

(* A noise family that is closed under sums (Skellam, for one): shares add up to the
   member of the family that belongs to the number of survivors.                      *)
Theorem closed_family (p : nat -> {ffun R -> F}) : p 0%N = @no_noise F R ->
  (forall m n, p (m + n)%N = conv (p m) (p n)) -> (forall i, noise i = p 1%N) ->
  forall A, law A = p #|A|.
Proof.
move=> p0 pD p1 A; rewrite /law -sum1_card.
by rewrite (big_morph p pD p0); apply: eq_bigr => i _; apply: p1.
Qed.
End DistributedNoise.
