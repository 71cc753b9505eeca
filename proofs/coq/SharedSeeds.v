(* securefl.secagg.masking with its secrets shared by securefl.crypto.shamir: the
   bound of Generator.v still holds when the adversary also sees shares.
   Every secret l (a client's self-mask seed, a client's mask key, or a piece of
   either) is any function of the seeds, so a mask key from which all seeds of its
   pairs derive is one secret. Dealt with a fresh polynomial of degree t - 1 over Fq.
   The adversary sees the uploads, the revealed seeds, and of each secret the shares
   of the holders in vis l: any number if l is opened (then l must follow from the
   revealed seeds), at most t - 1 otherwise. The reduction simulates a closed secret's
   shares with shares of 0, and loses nothing: Shamir's privacy is perfect.
   Not here: what is opened is fixed in advance; encryption of shares is ideal.      *)
From mathcomp Require Import all_ssreflect ssralg ssrnum finalg matrix zmodp.
From SecureFL Require Import Fibre Hiding Average Generator Shamir.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Dealing.
Variables (Fq : finFieldType) (I L : finType) (a : I -> Fq) (t' : nat) (vis : L -> {set I}).
Hypothesis a_inj : injective a.
Hypothesis a_neq0 : forall i, a i != 0.
Local Notation coins := {ffun L -> 'rV[Fq]_t'}.

(* The visible shares of every secret, 0 where a share is not seen. *)
Definition dealt (s : L -> Fq) (c : coins) : {ffun L -> {ffun I -> Fq}} :=
  [ffun l => shares a (vis l) (s l) (c l)].

Lemma card_dealt s v :
  #|[set c | dealt s c == v]| = (\prod_l #|[set r : 'rV_t' | shares a (vis l) (s l) r == v l]|)%N.
Proof.
pose P l := [pred r : 'rV[Fq]_t' | shares a (vis l) (s l) r == v l].
rewrite (eq_card (B := family P)) => [|c].
  rewrite card_family foldrE big_map big_enum; apply: eq_bigr => l _.
  by apply: eq_card => r; rewrite !inE.
rewrite inE; apply/eqP/familyP => [dv l|same]; first by rewrite /P inE /= -dv ffunE.
by apply/ffunP=> l; rewrite ffunE; apply/eqP; have := same l; rewrite /P inE.
Qed.

(* Two dealings that differ only in secrets of which at most t - 1 shares are seen
   are equally likely to give any visible shares.                                 *)
Lemma dealt_alike s s' : (forall l, s l = s' l \/ (#|vis l| <= t')%N) ->
  forall v, #|[set c | dealt s c == v]| = #|[set c | dealt s' c == v]|.
Proof.
move=> alike v; rewrite !card_dealt; apply: eq_bigr => l _.
by case: (alike l) => [->|few] //; apply: shamir_private.
Qed.

Lemma avg_dealt (F : realFieldType) (f : {ffun L -> {ffun I -> Fq}} -> F) s s' :
  (forall l, s l = s' l \/ (#|vis l| <= t')%N) ->
  avg (fun c : coins => f (dealt s c)) = avg (fun c : coins => f (dealt s' c)).
Proof.
move=> alike; rewrite /avg; congr (_ * _).
have P u : \sum_(c : coins) f (dealt u c) = \sum_v f v *+ #|[set c : coins | dealt u c == v]|.
  rewrite (partition_big (dealt u) predT) //=; apply: eq_bigr => v _.
  by rewrite -sumr_const; apply: eq_big => [c|c /eqP -> //]; rewrite inE.
by rewrite !P; apply: eq_bigr => v _; rewrite (dealt_alike alike).
Qed.
End Dealing.

Section SharedSeeds.
Variables (F : realFieldType) (T E Seed : finType) (src tgt : E -> T) (R : finZmodType).
Variables (G : Seed -> R) (k0 : Seed).
Variables (K : pred E) (A : {set T}).    (* revealed pairwise seeds; revealed self-mask seeds *)
Local Notation J := (E + T)%type.
Local Notation revealed := (revealed (known (T := T) K A)).

Variables (Fq : finFieldType) (I L : finType) (a : I -> Fq) (t' : nat).
Hypothesis a_inj : injective a.
Hypothesis a_neq0 : forall i, a i != 0.

Variables (secret : L -> {ffun J -> Seed} -> Fq) (vis : L -> {set I}) (opened : pred L).
Variable opened_secret : L -> {ffun J -> option Seed} -> Fq.
Hypothesis opened_known : forall l k, opened l -> secret l k = opened_secret l (revealed k).
Hypothesis closed_few : forall l, ~~ opened l -> (#|vis l| <= t')%N.

Local Notation coins := {ffun L -> 'rV[Fq]_t'}.
Local Notation dealt := (dealt (t' := t') a vis).
Variable Adv : {ffun T -> R} -> {ffun J -> option Seed} -> {ffun L -> {ffun I -> Fq}} -> F.

(* The round with shares: seeds k and the dealers' coins c are uniform. *)
Definition shared_game x := avg (fun k : {ffun J -> Seed} => avg (fun c : coins =>
  Adv (uploads src tgt x [ffun j => G (k j)]) (revealed k) (dealt (secret^~ k) c))).

(* The adversary of Generator.v that makes up the shares by itself. *)
Definition simulated u rv := avg (fun c : coins =>
  Adv u rv (dealt (fun l => if opened l then opened_secret l rv else 0) c)).

Lemma shared_gameE x : shared_game x = game src tgt G K A simulated x.
Proof.
apply: eq_avg => k; rewrite /simulated; apply: (avg_dealt a_inj a_neq0) => l.
by case: ifP => ol; [left; apply: opened_known | right; apply: closed_few; rewrite ol].
Qed.

Theorem shared_round_private x x' : same_exposed_sums src tgt K A x x' ->
  `| shared_game x - shared_game x' | <=
     \sum_(j | ~~ known K A j) generator_advantage G
       (reduction G (known K A) (fun rv m => simulated (uploads src tgt x m) rv) j) +
     \sum_(j | ~~ known K A j) generator_advantage G
       (reduction G (known K A) (fun rv m => simulated (uploads src tgt x' m) rv) j).
Proof. by move=> xx'; rewrite !shared_gameE; apply: round_private. Qed.
End SharedSeeds.

(* The instance in which every seed is shared by itself: t - 1 shares of each hidden seed,
   all shares of each revealed one.                                                   *)
Section Seedwise.
Variables (F : realFieldType) (T E Seed : finType) (src tgt : E -> T) (R : finZmodType).
Variables (G : Seed -> R) (k0 : Seed) (K : pred E) (A : {set T}).
Variables (Fq : finFieldType) (I : finType) (a : I -> Fq) (t' : nat) (embed : Seed -> Fq).
Hypothesis a_inj : injective a.
Hypothesis a_neq0 : forall i, a i != 0.
Local Notation J := (E + T)%type.
Variable vis : J -> {set I}.
Hypothesis hidden_few : forall j, ~~ known (T := T) K A j -> (#|vis j| <= t')%N.
Variable Adv : {ffun T -> R} -> {ffun J -> option Seed} -> {ffun J -> {ffun I -> Fq}} -> F.

Definition seed_of (j : J) (rv : {ffun J -> option Seed}) : Fq :=
  if rv j is Some s then embed s else 0.
Let simulation u rv := simulated a t' vis (known (T := T) K A) seed_of Adv u rv.

Corollary seedwise_private x x' : same_exposed_sums src tgt K A x x' ->
  `| shared_game src tgt G K A a t' (fun j (k : {ffun J -> Seed}) => embed (k j)) vis Adv x -
     shared_game src tgt G K A a t' (fun j (k : {ffun J -> Seed}) => embed (k j)) vis Adv x' | <=
     \sum_(j | ~~ known K A j) generator_advantage G
       (reduction G (known K A) (fun rv m => simulation (uploads src tgt x m) rv) j) +
     \sum_(j | ~~ known K A j) generator_advantage G
       (reduction G (known K A) (fun rv m => simulation (uploads src tgt x' m) rv) j).
Proof.
move=> xx'; apply: (shared_round_private G k0 a_inj a_neq0 (opened_secret := seed_of)) => // j k jK.
by rewrite /seed_of ffunE jK.
Qed.
End Seedwise.
