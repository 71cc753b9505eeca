"""An exact sum that nobody can open alone: threshold RLWE, t of n decryptors, in plain numpy.

One commitment and one upload per client and round; afterwards only decryptors need be online: any t partners, or a committee.
The protocol's messages and the security argument are in SPEC.md; key generation in :mod:`.keygen`, opening in
:mod:`.decryptor`.

Guarantees, against an operator that deviates at will and up to min(c, t - 1) corrupted decryptors, encryptors semi-honest,
under RLWE at 128 bits: they learn the sums that were opened, over at least minimum + c partners each, and the noise budget's
distance (2^-40 over a key's life by default) besides. Exact, or refused.

NOT protected: *chosen ciphertexts*. A corrupted encryptor who sends a malformed upload and reads the result extracts the
epoch's key (attacks/rlwe_toy.py), and with the operator's help opens that epoch's single updates; an epoch is one round by
default, and proofs of well-formedness are not implemented. *Robustness*: a wrong share or a malformed upload ends the round,
and where no answer is malformed by itself nobody is named, because answers carry no proof. *Time*: numpy is not constant in
time. The correctness of a dishonest partner's own value.

Left out: a key-additive symmetric variant (each client encrypts under a short key of its own with public per-round
polynomials, and only the N-coefficient sum of keys goes through the decryptors: 5 to 7 bytes a parameter, measured in
benchmarks/rlwe.py). What it opens, sums of keys and of errors, is a hint about both; security then needs RLWE with such
hints. The published reductions [KLSS23] cover Gaussian secrets and errors with hints of Gaussian covariance, wide enough that
the reduced instance is still hard; ours are ternary and binomial, so that none of their parameter sets applies, and
re-parametrising costs the bytes that the variant was to save. A pending patent application (US 2025/0358106 A1, "Willow")
claims this area; whoever adds the variant must look at it first.

Reference: [KLSS23] Kim, Lee, Seo, Song: Toward practical lattice-based proof of knowledge from Hint-MLWE, Crypto 2023.
"""

from securefl.secagg.rlwe_sum.protocol import RlweOptions, RlweSetup, RlweSum, set_up

__all__ = ["RlweOptions", "RlweSetup", "RlweSum", "set_up"]
