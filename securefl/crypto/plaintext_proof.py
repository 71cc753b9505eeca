"""A proof that the sender of Paillier ciphertexts knows what is in them, so that none is made out of somebody else's.

Paillier is malleable: ``c^32`` is the ciphertext of 32 times whatever ``c`` holds. A partner that may send such a thing learns,
from the sum that is then opened, an update that it was shown encrypted only. One proof covers a whole vector: its ciphertexts
are combined with random 128-bit exponents, and knowledge of plaintext and mask exponent of the combination is shown (a proof
of Schnorr's kind, Fiat-Shamir in the random-oracle model). ``binding`` says who proves, and for what: under any other binding
the proof does not verify, so that it can't be copied together with the ciphertexts.

Guarantees: whoever makes an accepted proof knows every plaintext but for probability about 2^-127, since the primes of the
modulus are longer than a challenge; plaintexts and exponents are hidden statistically, to 2^-128. NOT shown: that a plaintext
is in its range, or packed as it should be.

References: [CDN01] Cramer, Damgard, Nielsen: Multiparty computation from threshold homomorphic encryption, Eurocrypt 2001
(proof of plaintext knowledge). [BGR98] Bellare, Garay, Rabin: Fast batch verification for modular exponentiation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from securefl.crypto.fixed_base import gmp
from securefl.crypto.paillier import Encryptor, PublicKey, encode_ciphertexts, uniform_below
from securefl.crypto.powers import CHALLENGE_SIZE, batch_exponents, product_of_powers
from securefl.errors import VerificationError
from securefl.types import Rng

_SLACK_SIZE = 2 * CHALLENGE_SIZE + 4 + 16
"""How much longer the mask of the exponents is than one of them: two challenges, 2^32 summands, 128 bits of distance."""


def proof_size(encryptor: Encryptor) -> int:
    """Return the bytes of every proof: a challenge and two responses."""
    return CHALLENGE_SIZE + encryptor.public.bits // 8 + _exponent_response_size(encryptor)


def prove_plaintexts(
    encryptor: Encryptor, ciphertexts: Sequence[Any], plaintexts: Sequence[int], exponents: Sequence[bytes], *,
    binding: bytes, rng: Rng,
) -> bytes:  # fmt: skip
    """Return the proof that the sender knows the ``plaintexts`` and mask ``exponents`` of ``ciphertexts``."""
    public, n = encryptor.public, encryptor.public.n
    seed = _statement(public, ciphertexts, binding)
    weights = [int.from_bytes(weight, "big") for weight in batch_exponents(seed, len(ciphertexts))]
    plain = sum(weight * plaintext for weight, plaintext in zip(weights, plaintexts, strict=True)) % n
    exponent = sum(
        weight * int.from_bytes(one, "little") for weight, one in zip(weights, exponents, strict=True)
    )  # fmt: skip
    plain_mask = int(uniform_below(n, rng=rng))
    exponent_mask = int.from_bytes(rng.bytes(_exponent_response_size(encryptor) - 1), "big")
    challenge = _challenge(public, seed, _encryption(public, plain_mask, exponent_mask))
    factor = int.from_bytes(challenge, "big")
    plain_response = (plain_mask + factor * plain) % n
    exponent_response = exponent_mask + factor * exponent
    return (
        challenge
        + plain_response.to_bytes(public.bits // 8, "big")
        + exponent_response.to_bytes(_exponent_response_size(encryptor), "big")
    )


def verify_plaintexts(encryptor: Encryptor, ciphertexts: Sequence[Any], proof: bytes, *, binding: bytes) -> None:
    """Check that the sender named in ``binding`` knows the plaintexts of ``ciphertexts``, all units modulo n^2.

    Raises:
        VerificationError: it does not, or the proof is malformed.
    """
    public = encryptor.public
    middle = CHALLENGE_SIZE + public.bits // 8
    challenge, plain = proof[:CHALLENGE_SIZE], int.from_bytes(proof[CHALLENGE_SIZE:middle], "big")
    if len(proof) != proof_size(encryptor) or plain >= public.n:
        raise VerificationError("proof of plaintexts is malformed")
    seed = _statement(public, ciphertexts, binding)
    combined = product_of_powers(ciphertexts, batch_exponents(seed, len(ciphertexts)), public.n_squared)
    back = gmp().powmod(combined, -int.from_bytes(challenge, "big"), public.n_squared)
    committed = _encryption(public, plain, int.from_bytes(proof[middle:], "big")) * back % public.n_squared
    if _challenge(public, seed, committed) != challenge:
        raise VerificationError("proof of plaintexts does not verify: ciphertexts are not the sender's own of this round")


def _exponent_response_size(encryptor: Encryptor) -> int:
    return encryptor.exponent_size + _SLACK_SIZE + 1


def _encryption(public: PublicKey, plaintext: int, exponent: int) -> Any:
    return (1 + plaintext * public.n) * gmp().powmod(public.h, exponent, public.n_squared) % public.n_squared


def _statement(public: PublicKey, ciphertexts: Sequence[Any], binding: bytes) -> bytes:
    """Hash of all that is proven: key, binding, ciphertexts."""
    digest = hashlib.sha256(b"securefl paillier plaintexts")
    digest.update(hashlib.sha256(public.encode()).digest() + hashlib.sha256(binding).digest())
    digest.update(len(ciphertexts).to_bytes(4, "big"))
    digest.update(encode_ciphertexts(public, ciphertexts))
    return digest.digest()


def _challenge(public: PublicKey, seed: bytes, committed: Any) -> bytes:
    return hashlib.sha256(b"challenge" + seed + encode_ciphertexts(public, [committed])).digest()[:CHALLENGE_SIZE]
