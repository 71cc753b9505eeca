"""An exact sum that nobody can open alone: threshold RLWE, t of n decryptors, in plain numpy.

One commitment and one upload per client and round; afterwards only decryptors need be online: any t partners, or a committee.
The protocol's messages and the security argument are in SPEC.md; key generation in :mod:`.keygen`, opening in
:mod:`.decryptor`.

Guarantees, against an operator that deviates at will and up to min(c, t - 1) corrupted decryptors, encryptors semi-honest and
every decryptor's part of the key short as it should be, under RLWE at 128 bits: they learn the sums that were opened, over at
least minimum + c partners each, and the noise budget's distance (2^-40 over a key's life by default) besides. Exact, or
refused. From the second attempt at a sum on decryptors are encryptors too, of zeros: a corrupted one must then be semi-honest
in this; with ``attempts=1`` there is no such message.

NOT protected: *chosen ciphertexts*. A corrupted encryptor who sends a malformed upload and reads the result extracts the
epoch's key (attacks/conformance/rlwe_toy.py), and with the operator's help opens that epoch's single updates; an epoch is one
round by default, and proofs of well-formedness are not implemented. *Oversized key parts*: a corrupted decryptor that makes
its part of the key with a large error learns, with the operator, the sum of the uploads' ephemeral secrets, a hint about each
(attacks/conformance/rlwe_toy_part.py). *Robustness*: a wrong share or a malformed upload ends the round, and where no answer
is malformed by itself nobody is named, because answers carry no proof. *Time*: numpy is not constant in time. The correctness
of a dishonest partner's own value.

Left out: a key-additive symmetric variant (each client encrypts under a short key of its own with public per-round
polynomials, and only the N-coefficient sum of keys goes through the decryptors). Its price is measured in benchmarks/rlwe.py:
6.0 bytes a parameter for 32-bit sums. What it opens, sums of keys and of errors, is a hint about each of them; security then
is RLWE with hints. The reduction of Hint-MLWE to MLWE [KLSS23] is for discrete Gaussian secrets, errors and hint noise, while
ours are ternary and binomial; it would take Gaussian keys and errors whose width survives the hint, with at least two honest
clients in every sum, and an argument for both sums at once. That is not written here, so the variant is not offered. A
pending patent application (US 2025/0358106 A1, the "Willow" protocol) is in this area: whoever adds the variant must look at
it first.

Reference: [KLSS23] Kim, Lee, Seo, Song: Toward practical lattice-based proof of knowledge from Hint-MLWE, Crypto 2023.
"""

from securefl.secagg.rlwe_sum.protocol import RlweOptions, RlweSetup, RlweSum, set_up

__all__ = ["RlweOptions", "RlweSetup", "RlweSum", "set_up"]
