(* securefl.crypto.shamir, executable: dealing by Horner's rule and reconstruction at 0
   modulo a prime p, on plain Z. Extracted (oracle); ShamirRefine.v proves it correct. *)
From Coq Require Import ZArith List.
From SecureFL Require Import Quantize.
Import ListNotations.
Local Open Scope Z_scope.

(* b^e mod p by squaring; the inverse is Fermat's, b^(p-2). *)
Fixpoint powmod_pos (p b : Z) (e : positive) : Z :=
  match e with
  | xH => b mod p
  | xO e' => let h := powmod_pos p b e' in (h * h) mod p
  | xI e' => let h := powmod_pos p b e' in (h * h * b) mod p
  end.
Definition powmod (p b e : Z) : Z := match e with Zpos e => powmod_pos p b e | _ => 1 mod p end.
Definition invmod (p a : Z) : Z := powmod p a (p - 2).

(* A share: the polynomial with coefficients cs (the secret first) at z. *)
Fixpoint horner (p : Z) (cs : list Z) (z : Z) : Z :=
  match cs with [] => 0 | c :: cs' => (c + z * horner p cs' z) mod p end.

(* The Lagrange coefficient at 0 of point i among the points points. *)
Definition lagrange_at_zero (p : Z) (points : list Z) (i : Z) : Z :=
  fold_right (fun j acc => if Z.eqb i j then acc else (acc * (j * invmod p ((j - i) mod p))) mod p) (1 mod p) points.

Definition combine (p : Z) (shares : list (Z * Z)) : Z :=
  sumZ (map (fun sh => (snd sh * lagrange_at_zero p (map fst shares) (fst sh)) mod p) shares) mod p.
