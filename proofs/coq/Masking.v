(* securefl.secagg.masking: pairwise masks cancel, and the operator's unmasking
   gives the sum of the survivors' inputs, for any masking graph and any dropout
   set. The masks live in any abelian group: the product uses vectors of words of
   Z_2^k. Correctness only; what the operator learns is Hiding.v.
   [BIK+17] Bonawitz et al., CCS 2017, section 4.                              *)
From mathcomp Require Import all_ssreflect ssralg.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Masking.
Variables (V : zmodType) (n : nat).
Implicit Types (x b : 'I_n -> V) (s : 'I_n -> 'I_n -> V) (A U D : {set 'I_n}).

(* s i j : PRG output for the seed agreed by i and j (hence symmetric).
   nb i j : i and j are neighbours in the masking graph (complete or sparse). *)
Variable nb : rel 'I_n.
Hypothesis nb_sym : symmetric nb.

(* what client i adds because of client j *)
Definition pair_mask s (i j : 'I_n) : V :=
  if ~~ nb i j then 0 else if (i < j)%N then s i j else if (j < i)%N then - s i j else 0.

Lemma pair_mask_anti s : (forall i j, s i j = s j i) -> forall i j, pair_mask s j i = - pair_mask s i j.
Proof.
move=> ssym i j; rewrite /pair_mask nb_sym; case: (nb i j) => /=; last by rewrite oppr0.
by case: ltngtP; rewrite ?opprK ?oppr0 // ssym.
Qed.

Lemma pair_mask_self s i : pair_mask s i i = 0.
Proof. by rewrite /pair_mask ltnn; case: ifP. Qed.

(* NB: antisymmetry alone would only give 2 * sum = 0, which is *not* enough in
   Z/2^k; the strict order (zero diagonal) is what makes the masks cancel.     *)
Lemma pair_mask_cancel s A : (forall i j, s i j = s j i) ->
  \sum_(i in A) \sum_(j in A) pair_mask s i j = 0.
Proof.
move=> ssym.
have split i : \sum_(j in A) pair_mask s i j =
   \sum_(j in A | (i < j)%N) pair_mask s i j + \sum_(j in A | (j < i)%N) pair_mask s i j.
  rewrite (bigID (fun j : 'I_n => (i < j)%N)) /=; congr (_ + _).
  rewrite (bigID (fun j : 'I_n => (j < i)%N)) /= [X in _ + X]big1 ?addr0.
    by apply: eq_bigl => j; case: ltngtP; rewrite ?andbT ?andbF.
  by move=> j /andP[/andP[_ ij] ji]; have /val_inj-> : i = j :> nat; [case: ltngtP ij ji|apply: pair_mask_self].
rewrite (eq_bigr _ (fun i _ => split i)) big_split /=.
rewrite [X in _ + X](exchange_big_dep (mem A)) /=; last by move=> i j _ /andP[].
rewrite -big_split big1 //= => i iA.
rewrite [X in _ + X](eq_big (fun j => (j \in A) && (i < j)%N) (fun j => - pair_mask s i j)) => [||j _].
- by rewrite sumrN subrr.
- by move=> j; rewrite iA.
by rewrite (pair_mask_anti ssym).
Qed.

(* Upload of client i, masked_input against everyone in U (the key-exchange set). *)
Definition masked_input U x b s i := x i + b i + \sum_(j in U) pair_mask s i j.

(* Server: A = survivors.  Subtract the survivors' self masks (reconstructed from
   shares of b) and the pairwise masks between survivors and dropped clients
   (reconstructed from shares of the dropped clients' keys).                   *)
Definition unmask U A b s (total : V) :=
  total - \sum_(i in A) b i - \sum_(i in A) \sum_(d in U :\: A) pair_mask s i d.

Theorem unmask_correct U A x b s : A \subset U -> (forall i j, s i j = s j i) ->
  unmask U A b s (\sum_(i in A) masked_input U x b s i) = \sum_(i in A) x i.
Proof.
move=> sAU ssym; rewrite /unmask /masked_input !big_split /=.
have -> : \sum_(i in A) \sum_(j in U) pair_mask s i j =
          \sum_(i in A) \sum_(d in U :\: A) pair_mask s i d.
  rewrite (eq_bigr (fun i => \sum_(j in A) pair_mask s i j + \sum_(d in U :\: A) pair_mask s i d)).
    by rewrite big_split /= pair_mask_cancel // add0r.
  by move=> i _; rewrite (big_setID A) /= (setIidPr sAU).
by rewrite addrAC addrK addrK.
Qed.

(* No dropout, no self mask: the textbook cancellation. *)
Corollary mask_cancel x s : (forall i j, s i j = s j i) ->
  \sum_i (x i + \sum_j pair_mask s i j) = \sum_i x i.
Proof.
move=> ssym; rewrite big_split /=.
rewrite -[X in _ + X](_ : \sum_(i in [set: 'I_n]) \sum_(j in [set: 'I_n]) pair_mask s i j = _).
  by rewrite pair_mask_cancel ?addr0.
by apply: eq_big => [i|i _]; rewrite ?inE //; apply: eq_bigl => j; rewrite inE.
Qed.

End Masking.

(* The formula in the README, verbatim, for the complete graph. *)
Theorem mask_cancel_complete (V : zmodType) n (x : 'I_n -> V) (s : 'I_n -> 'I_n -> V) :
  \sum_i (x i + \sum_(j : 'I_n | (i < j)%N) s i j - \sum_(j : 'I_n | (j < i)%N) s j i) = \sum_i x i.
Proof.
rewrite sumrB big_split /= (exchange_big_dep predT) //= addrK //.
Qed.
