(* The executable sharing of ShamirExec.v, on Z modulo a prime, computes what Shamir.v
   proves in the field 'F_p.                                                       *)
From Coq Require Import ZArith Lia List.
From mathcomp Require Import all_ssreflect ssralg ssrint poly zmodp ssrZ zify.
From SecureFL Require Import Quantize ShamirExec Shamir.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory.
Local Open Scope ring_scope.

Section Refine.
Variable q : nat.
Hypothesis q_pr : prime q.
Local Notation p := (Z.of_nat q).
Definition phi (z : Z) : 'F_q := (int_of_Z z)%:~R.

Lemma phiD x y : phi (Z.add x y) = phi x + phi y.
Proof. by rewrite /phi -[Z.add x y]/(x + y) rmorphD /= intrD. Qed.
Lemma phiM x y : phi (Z.mul x y) = phi x * phi y.
Proof. by rewrite /phi -[Z.mul x y]/(x * y) rmorphM /= intrM. Qed.
Lemma phiN x : phi (Z.opp x) = - phi x.
Proof. by rewrite /phi -[Z.opp x]/(- x) rmorphN /= mulrNz. Qed.
Lemma phiB x y : phi (Z.sub x y) = phi x - phi y.
Proof. by rewrite -Z.add_opp_r phiD phiN. Qed.
Lemma phi1 : phi (Zpos xH) = 1. Proof. by []. Qed.
Lemma phi_nat n : phi (Z.of_nat n) = n%:R.
Proof. by elim: n => // n IH; rewrite Nat2Z.inj_succ -Z.add_1_l phiD IH phi1 -mulrS. Qed.
Lemma phi_p : phi p = 0. Proof. by rewrite phi_nat char_Fp_0. Qed.
Lemma p_gt1 : Z.lt (Zpos xH) p.
Proof. by have := prime_gt1 q_pr; case: (q) => [|[|n]] // _; lia. Qed.
Lemma phi_mod x : phi (Z.modulo x p) = phi x.
Proof.
have p1 := p_gt1; rewrite {2}(Z.div_mod x p); last by lia.
by rewrite phiD phiM phi_p mul0r add0r.
Qed.
Lemma phi_inj x y : Z.le Z0 x /\ Z.lt x p -> Z.le Z0 y /\ Z.lt y p -> phi x = phi y -> x = y.
Proof.
move=> hx hy; rewrite -(Z2Nat.id x) -1?(Z2Nat.id y); try lia.
rewrite !phi_nat => /(congr1 val); rewrite /= !val_Fp_nat // !modn_small; lia.
Qed.

Lemma phi_pow b e : phi (powmod_pos p b e) = phi b ^+ (Pos.to_nat e).
Proof.
elim: e => [e IH|e IH|] /=; last by rewrite phi_mod.
  by rewrite phi_mod !phiM IH Pos2Nat.inj_xI -exprD -exprSr; congr (_ ^+ _); lia.
by rewrite phi_mod phiM IH Pos2Nat.inj_xO -exprD; congr (_ ^+ _); lia.
Qed.

Lemma fermat (x : 'F_q) : x ^+ q = x.
Proof.
rewrite -[x in LHS]natr_Zp -natrX -Fp_nat_mod // fermat_little // Fp_nat_mod //.
by rewrite natr_Zp.
Qed.
Lemma phi_inv x : phi x != 0 -> phi (invmod p x) = (phi x)^-1.
Proof.
move=> x0; rewrite /invmod /powmod; have p1 := p_gt1.
case E: (Z.sub p _) => [|e|e]; try lia.
  have H : phi x ^+ 2 = phi x by rewrite -[RHS]fermat; congr (_ ^+ _); lia.
  by rewrite phi_mod phi1; apply: (mulfI x0); rewrite divff // mulr1; apply: (mulfI x0); rewrite mulr1 -expr2.
rewrite phi_pow; apply: (mulfI x0); apply: (mulfI x0); rewrite divff // mulr1.
by rewrite mulrA -expr2 -exprD -[RHS]fermat; congr (_ ^+ _); lia.
Qed.

Definition pol (cs : list Z) : {poly 'F_q} := Poly (map phi cs).
Lemma phi_horner cs z : phi (horner p cs z) = (pol cs).[phi z].
Proof.
rewrite horner_Poly; elim: cs => //= c cs IH.
by rewrite phi_mod phiD phiM IH addrC mulrC.
Qed.

(* product and sum over the list of x-coordinates, as in Shamir.v *)
Variable xs : seq Z.
Hypothesis xs_range : forall x, x \in xs -> Z.lt Z0 x /\ Z.lt x p.
Hypothesis xs_uniq : uniq xs.
Local Notation I := 'I_(size xs).
Definition nd (i : I) : 'F_q := phi (nth Z0 xs i).

Lemma in_range x : x \in xs -> Z.le Z0 x /\ Z.lt x p.
Proof. by case/xs_range=> ? ?; split; lia. Qed.
Lemma nd_inj : injective nd.
Proof.
move=> i j /phi_inj H; apply/ord_inj/eqP; rewrite -(nth_uniq Z0 _ _ xs_uniq) //.
by apply/eqP/H; apply/in_range/mem_nth.
Qed.

Lemma phi_lagrange_at_zero (i : I) :
  phi (lagrange_at_zero p xs (nth Z0 xs i)) = \prod_(j in [set: I] :\ i) (nd j / (nd j - nd i)).
Proof.
set xi := nth Z0 xs i; have ix : xi \in xs by rewrite mem_nth.
have -> : \prod_(j in [set: I] :\ i) (nd j / (nd j - nd i)) = \prod_(x <- xs | x != xi) (phi x / (phi x - phi xi)).
  rewrite (big_nth Z0) big_mkord; apply: eq_bigl => j.
  by rewrite !inE andbT nth_uniq.
suff main l : {subset l <= xs} ->
    phi (lagrange_at_zero p l xi) = \prod_(x <- l | x != xi) (phi x / (phi x - phi xi)) by apply: main.
elim: l => [|x l IH] sub; first by rewrite big_nil /lagrange_at_zero /= phi_mod.
rewrite big_cons -IH => [|y yl]; last by rewrite sub // inE yl orbT.
rewrite /lagrange_at_zero /= -/(lagrange_at_zero p l xi); case: Z.eqb_spec => [<-|/eqP]; first by rewrite eqxx.
rewrite eq_sym => nx; have xx : x \in xs by rewrite sub // mem_head.
rewrite nx phi_mod !phiM phi_inv phi_mod phiB 1?mulrC //.
by rewrite subr_eq0; apply: contra nx => /eqP/phi_inj -> //; exact: in_range.
Qed.

Definition deal (cs : list Z) (l : list Z) := List.map (fun x => (x, horner p cs x)) l.

Theorem combine_correct (cs : list Z) : (size cs <= size xs)%N ->
  combine p (deal cs xs) = Z.modulo (head Z0 cs) p.
Proof.
move=> sz; have p1 := p_gt1.
apply: phi_inj; [apply: Z.mod_pos_bound; lia|apply: Z.mod_pos_bound; lia|].
rewrite /combine !phi_mod.
have -> : List.map fst (deal cs xs) = xs by rewrite /deal; elim: (xs) => //= x l ->.
have main l : phi (sumZ (List.map (fun sh => Z.modulo (Z.mul sh.2 (lagrange_at_zero p xs sh.1)) p) (deal cs l))) =
    \sum_(x <- l) phi (horner p cs x) * phi (lagrange_at_zero p xs x).
  elim: l => [|x l IH]; first by rewrite big_nil.
  by rewrite big_cons -IH /= phiD phi_mod phiM.
have -> : phi (head Z0 cs) = (pol cs).[0] by rewrite horner_coef0 coef_Poly; case: (cs).
have nI : {in [set: I] &, injective nd} by move=> ? ? _ _; apply: nd_inj.
have szp : (size (pol cs) <= size xs)%N by apply: leq_trans (size_Poly _) _; rewrite size_map.
rewrite main -(shamir_correct nI szp); last by rewrite cardsT card_ord.
rewrite (big_nth Z0) big_mkord; apply: eq_big => [i|i _]; first by rewrite inE.
by rewrite phi_horner phi_lagrange_at_zero.
Qed.
End Refine.
