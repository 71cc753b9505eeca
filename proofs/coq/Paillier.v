(* securefl.crypto.paillier: decrypting the product of ciphertexts gives the sum of the
   plaintexts modulo n, with lambda or by the Chinese remainder theorem.
   A ciphertext is (1 + m n) r^n mod n^2; the code's mask h^e is such an r^n, because h
   is an n-th power of a unit. Correctness only: semantic security (decisional
   composite residuosity, short exponents) is assumed, not proven. [Pai99]            *)
From mathcomp Require Import all_ssreflect all_fingroup cyclic zmodp ssralg.
From mathcomp Require Import zify.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.

Section Encryption.
Variable n : nat.
Local Notation N := (n * n).
Definition enc (m r : nat) := ((1 + m * n) * r ^ n) %% N.
Definition add (c c' : nat) := (c * c') %% N.
Definition scal (c k : nat) := c ^ k %% N.
Definition agg (cs : seq nat) := foldr add 1 cs.

(* (1+n)^m = 1 + m n  mod n^2 *)
Lemma expg m : (1 + n) ^ m = 1 + m * n %[mod N].
Proof.
elim: m => [|m IH]; first by rewrite mul0n.
rewrite expnS -modnMmr IH modnMmr mulnDl mulnDr muln1 mulnDr muln1 mul1n.
rewrite (_ : _ + _ = m * N + (1 + m.+1 * n)) ?modnMDl //; lia.
Qed.

Lemma encE m r : enc m r = ((1 + n) ^ m * r ^ n) %% N.
Proof. by rewrite /enc -modnMml -expg modnMml. Qed.

Lemma add_enc m m' r r' : add (enc m r) (enc m' r') = ((1 + n) ^ (m + m') * (r * r') ^ n) %% N.
Proof. by rewrite /add !encE modnMml modnMmr expnD expnMn mulnACA. Qed.

(* Aggregation over any list of clients. *)
Lemma agg_enc (mr : seq (nat * nat)) : 1 < n ->
  all (fun p => coprime p.2 n) mr ->
  exists r, coprime r n /\ agg [seq enc p.1 p.2 | p <- mr] = enc (sumn [seq p.1 | p <- mr]) r.
Proof.
move=> n_gt1 cop; suff [r [rn e]] : exists r, coprime r n /\
    agg [seq enc p.1 p.2 | p <- mr] = ((1 + n) ^ (sumn [seq p.1 | p <- mr]) * r ^ n) %% N.
  by exists r; rewrite encE.
elim: mr cop => [_|[m r] mr IH /= /andP[rn /IH[r' [r'n ->]]]].
  by exists 1; rewrite coprime1n exp1n /= modn_small // -[1]muln1 ltn_mul.
by exists (r * r'); rewrite coprimeMl rn r'n; split=> //; rewrite -encE; apply: add_enc.
Qed.

End Encryption.

Section Paillier.
Variables (n lam mu : nat).
Hypothesis n_gt1 : 1 < n.
Local Notation N := (n * n).
(* lam is any exponent that kills the n-th residues: lam_carmichael. *)
Hypothesis lamP : forall r, coprime r n -> r ^ (n * lam) = 1 %[mod N].
Hypothesis muP : lam * mu = 1 %[mod n].

Definition L (u : nat) := (u - 1) %/ n.
Definition dec (c : nat) := (L (c ^ lam %% N) * mu) %% n.

Lemma dec_core m r : coprime r n -> ((1 + n) ^ m * r ^ n) ^ lam = 1 + (m * lam %% n) * n %[mod N].
Proof.
move=> rn; rewrite expnMn -!expnM -modnMmr lamP // modnMmr muln1 expg.
by rewrite {1}(divn_eq (m * lam) n) mulnDl -mulnA addnCA modnMDl.
Qed.

Theorem dec_enc_gen m r : coprime r n -> dec (((1 + n) ^ m * r ^ n) %% N) = m %% n.
Proof.
move=> rn; rewrite /dec modnXm dec_core // /L [(1 + _) %% N]modn_small; last first.
  by apply: (@leq_trans (n + (m * lam %% n) * n)); rewrite ?ltn_add2r // -mulSn leq_mul2r ltn_pmod ?orbT // ltnW.
by rewrite addKn mulnK ?(ltnW n_gt1) // modnMml -mulnA -modnMmr muP modnMmr muln1.
Qed.

Theorem dec_enc m r : coprime r n -> dec (enc n m r) = m %% n.
Proof. by rewrite encE; apply: dec_enc_gen. Qed.

Theorem paillier_add m m' r r' : coprime r n -> coprime r' n ->
  dec (add n (enc n m r) (enc n m' r')) = (m + m') %% n.
Proof. by move=> rn r'n; rewrite add_enc dec_enc_gen // coprimeMl rn. Qed.

Theorem paillier_scal m r k : coprime r n -> dec (scal n (enc n m r) k) = (m * k) %% n.
Proof.
by move=> rn; rewrite /scal encE modnXm expnMn -!expnM [n * k]mulnC [r ^ _]expnM dec_enc_gen ?coprimeXl.
Qed.

Theorem paillier_sum (mr : seq (nat * nat)) : all (fun p => coprime p.2 n) mr ->
  dec (agg n [seq enc n p.1 p.2 | p <- mr]) = (sumn [seq p.1 | p <- mr]) %% n.
Proof. by case/(agg_enc n_gt1)=> r [rn ->]; apply: dec_enc. Qed.
End Paillier.

(* Valid choice of lam for n = p q: any common multiple of p-1 and q-1
   (Carmichael's lcm, or (p-1)(q-1)). *)
Lemma exp_mod_sq s m r : prime s -> coprime r s -> s * s.-1 %| m -> r ^ m = 1 %[mod s ^ 2].
Proof.
move=> ps rs /dvdnP[k ->]; rewrite mulnC expnM -modnXm.
have <- : totient (s ^ 2) = s * s.-1 by rewrite totient_pfactor // expn1 mulnC.
by rewrite Euler_exp_totient ?coprimeXr // modnXm exp1n.
Qed.

Lemma lam_carmichael p q lam : prime p -> prime q -> p != q -> p.-1 %| lam -> q.-1 %| lam ->
  forall r, coprime r (p * q) -> r ^ (p * q * lam) = 1 %[mod (p * q) * (p * q)].
Proof.
move=> pp pq npq pl ql r; rewrite coprimeMr => /andP[rp rq].
have cpq : coprime (p ^ 2) (q ^ 2) by rewrite coprimeXl // coprimeXr // prime_coprime // dvdn_prime2.
rewrite mulnACA -!/(_ ^ 2) !mulnn; apply/eqP; rewrite (chinese_remainder cpq); apply/andP; split; apply/eqP.
  by apply: exp_mod_sq => //; rewrite -mulnA dvdn_mul // dvdn_mull.
by apply: exp_mod_sq => //; rewrite [p * q]mulnC -mulnA dvdn_mul // dvdn_mull.
Qed.

(* The key pairs the library generates. *)
Theorem paillier_keygen p q lam mu : prime p -> prime q -> p != q ->
  p.-1 %| lam -> q.-1 %| lam -> lam * mu = 1 %[mod p * q] ->
  forall mr : seq (nat * nat), all (fun c => coprime c.2 (p * q)) mr ->
  dec (p * q) lam mu (agg (p * q) [seq enc (p * q) c.1 c.2 | c <- mr]) =
    (sumn [seq c.1 | c <- mr]) %% (p * q).
Proof.
move=> pp pq npq pl ql lm mr; apply: paillier_sum => //; last exact: lam_carmichael.
by rewrite -[1]muln1 ltn_mul // prime_gt1.
Qed.

(* Decryption by the Chinese remainder theorem (PrivateKey.decrypt, _Half.decrypt). *)
Section Crt.
Variables (p q : nat).
Hypotheses (p_pr : prime p) (q_pr : prime q) (npq : p != q).
Local Notation n := (p * q).
Lemma n_gt1 : 1 < n. Proof. by rewrite -[1]muln1 ltn_mul // prime_gt1. Qed.

(* factor is the inverse of -q, that is of (p-1) q, modulo p. *)
Definition half (prime factor c : nat) := ((c ^ prime.-1 %% prime ^ 2 - 1) %/ prime * factor) %% prime.
(* inverse is that of p modulo q; p * q is added so that the difference stays natural. *)
Definition dec_crt (fp fq inverse c : nat) :=
  let low := half p fp c in let high := half q fq c in
  low + p * ((high + p * q - low) * inverse %% q).
End Crt.

Lemma half_enc p q f m r : prime p -> 0 < q -> f * (p.-1 * q) = 1 %[mod p] -> coprime r p ->
  half p f (enc (p * q) m r) = m %% p.
Proof.
move=> pp q0 fP rp; rewrite /half encE; set n := p * q; set c := _ * r ^ n.
have p0 := prime_gt0 pp; have p1 := prime_gt1 pp.
have sq : p ^ 2 %| n * n by rewrite /n mulnACA -mulnn dvdn_mulr.
have -> : (c %% (n * n)) ^ p.-1 %% p ^ 2 = c ^ p.-1 %% p ^ 2 by rewrite -modnXm modn_dvdm // modnXm.
have r1 : r ^ (n * p.-1) = 1 %[mod p ^ 2].
  by apply: exp_mod_sq => //; rewrite /n -mulnA [q * _]mulnC mulnA dvdn_mulr.
have g1 : (1 + n) ^ (m * p.-1) = 1 + (m * p.-1 * q %% p) * p %[mod p ^ 2].
  have /(congr1 (modn^~ (p ^ 2))) := expg n (m * p.-1); rewrite !modn_dvdm // => ->.
  rewrite {1}/n [p * q]mulnC mulnA {1}(divn_eq (m * p.-1 * q) p) mulnDl -mulnA mulnn addnCA.
  by rewrite modnMDl.
have -> : c ^ p.-1 %% p ^ 2 = 1 + (m * p.-1 * q %% p) * p.
  rewrite /c expnMn -!expnM -modnMmr r1 modnMmr muln1 g1 modn_small // -mulnn.
  apply: (@leq_trans (p + (m * p.-1 * q %% p) * p)); first by rewrite ltn_add2r.
  by rewrite -mulSn leq_mul2r ltn_pmod ?orbT.
rewrite addKn mulnK // modnMml (_ : _ * f = f * (p.-1 * q) * m); last by lia.
by rewrite -modnMml fP modnMml mul1n.
Qed.

Theorem paillier_crt p q fp fq inverse : prime p -> prime q -> p != q ->
  fp * (p.-1 * q) = 1 %[mod p] -> fq * (q.-1 * p) = 1 %[mod q] -> inverse * p = 1 %[mod q] ->
  forall mr : seq (nat * nat), all (fun c => coprime c.2 (p * q)) mr ->
  dec_crt p q fp fq inverse (agg (p * q) [seq enc (p * q) c.1 c.2 | c <- mr]) =
    (sumn [seq c.1 | c <- mr]) %% (p * q).
Proof.
move=> pp pq npq fpP fqP iP mr cop; have n1 := n_gt1 pp pq.
have [r [rn ->]] := agg_enc n1 cop; move: (sumn _) => m; move: rn; rewrite coprimeMr => /andP[rp rq].
rewrite /dec_crt half_enc ?prime_gt0 // (mulnC p q) half_enc ?prime_gt0 // (mulnC q p).
set low := m %% p; set t := _ %% q; have p0 := prime_gt0 pp; have q0 := prime_gt0 pq.
have lowp : low < p by rewrite ltn_pmod.
have tq : t < q by rewrite ltn_pmod.
have small : low + p * t < p * q.
  by apply: (@leq_trans (p + p * t)); rewrite ?ltn_add2r // -mulnS leq_mul2l tq orbT.
rewrite -(modn_small small); apply/eqP.
rewrite chinese_remainder ?prime_coprime ?dvdn_prime2 //; apply/andP; split; apply/eqP.
  by rewrite addnC mulnC modnMDl modn_mod.
have le : low <= m %% q + p * q by apply: leq_trans (ltnW lowp) (leq_trans (leq_pmulr _ q0) (leq_addl _ _)).
rewrite -modnDmr /t modnMmr modnDmr mulnCA [p * inverse]mulnC -modnDmr -modnMmr iP modnMmr muln1 modnDmr.
by rewrite subnKC // addnC modnMDl modn_mod.
Qed.
