"""What the homomorphic sums cost: the bars of each scheme on a million coordinates (whole rounds are in ``grid.py``).

    python benchmarks/homomorphic.py [--out benchmarks/results/homomorphic.json]

CPU seconds of one core, bytes apart from time; every workload is in this file, its seed fixed so that figures of two commits
compare. The load of the machine is in the result: CPU seconds grow by up to a half when the other hardware thread is busy.

The bars are of a core on which one ``phe`` encryption at 3072 bits takes 25 ms. So every time stands twice: in seconds, beside
its bar, and in units of one ``phe`` encryption timed before and after it in the same run, beside the bar in that unit: a ratio
that a slower or busier core leaves as it is. A bar that is missed in seconds stays missed. Beside what rests on another
library's call stands how many times that bare call it takes, on the same inputs in the same run: 1 is the floor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import phe
import tenseal
from numpy.typing import NDArray

from benchmarks.environment import environment
from securefl.crypto.bfv import BfvKey, BfvParams
from securefl.crypto.ckks import CkksKey, CkksParams
from securefl.crypto.flooding import SumPrecision
from securefl.crypto.packing import Packing
from securefl.crypto.paillier import (
    EXPONENT_BITS,
    Encryptor,
    add_ciphertexts,
    decode_ciphertexts,
    encode_ciphertexts,
    generate_key,
    require_units,
)
from securefl.crypto.plaintext_proof import prove_plaintexts, verify_plaintexts
from securefl.crypto.threshold_paillier import deal, generate_safe_prime, partially_decrypt, prove, verify
from securefl.types import SystemRng

SEED = 20261121
LENGTH = 10**6
ADDENDS = 10
RNG = SystemRng()
REFERENCE_SECONDS = 0.025
"""One ``phe`` encryption on the core that the bars were set for."""
SECONDS = {"s": 1.0, "ms/ciphertext": 1e-3}
"""Units of time, in seconds."""


@dataclass(frozen=True)
class Bar:
    """A figure with the bar that it is held against (``None``: no bar)."""

    scheme: str
    name: str
    value: float
    unit: str
    bar: float | None = None

    def record(self, encryption: float) -> dict[str, Any]:
        """Return the figure as JSON; ``encryption`` is the seconds of one ``phe`` encryption around it."""
        found = {"scheme": self.scheme, "name": self.name, "value": self.value, "unit": self.unit, "bar": self.bar}
        if self.unit not in SECONDS:
            return found
        unit = SECONDS[self.unit]
        bar = None if self.bar is None else self.bar * unit / REFERENCE_SECONDS
        return found | {"phe_encryptions": self.value * unit / encryption, "phe_encryptions_bar": bar}


def seconds(work: Callable[[], Any], repeats: int = 3) -> tuple[Any, float]:
    """Return what ``work`` gives and its CPU seconds, the median of ``repeats``."""
    taken, result = [], None
    for _ in range(repeats):
        started = time.process_time()
        result = work()
        taken.append(time.process_time() - started)
    return result, statistics.median(taken)


def values(length: int, seed: int = SEED) -> NDArray[np.int64]:
    """Return quantised coordinates, shape (length,), well inside a tenth of a 32-bit sum."""
    return np.random.default_rng(seed).integers(-(2**27), 2**27, length)


def paillier_bars(length: int) -> list[Bar]:
    """Measure packed Paillier at 3072 bits, against one ``phe`` ciphertext for each number on a sample."""
    key, key_seconds = seconds(lambda: generate_key(3072, rng=RNG), 3)
    public, packing, scale = key.public, Packing.for_modulus(3072), LENGTH / length
    encryptor, table_seconds = seconds(lambda: Encryptor(public), 1)
    plain = packing.pack(values(length))
    exponents = [RNG.bytes(encryptor.exponent_size) for _ in plain]
    ciphertexts, encrypt_seconds = seconds(lambda: [*map(encryptor.encrypt_with, packing.pack(values(length)), exponents)], 1)
    proof, prove_seconds = seconds(
        lambda: prove_plaintexts(encryptor, ciphertexts, plain, exponents, binding=b"me", rng=RNG), 1
    )  # fmt: skip
    _, verify_seconds = seconds(lambda: verify_plaintexts(encryptor, ciphertexts, proof, binding=b"me"), 1)
    body = encode_ciphertexts(public, ciphertexts)

    def add() -> Any:
        total = add_ciphertexts(public, [decode_ciphertexts(public, body, count=len(ciphertexts)) for _ in range(ADDENDS)])
        require_units(public, total)
        return total

    total, add_seconds = seconds(add, 1)
    sample = total[:40]
    opened, decrypt_seconds = seconds(lambda: key.decrypt_all(sample), 1)
    if not np.array_equal(packing.unpack(opened, 40 * packing.slots), ADDENDS * values(length)[: 40 * packing.slots]):
        raise SystemExit("the opened sum is wrong")
    naive = phe_seconds()
    half = Encryptor(public, exponent_bits=public.bits // 2)
    _, half_seconds = seconds(lambda: half.encrypt(packing.pack(values(length // 10)), rng=RNG), 1)
    return [
        Bar("paillier", "key generation", key_seconds, "s"),
        Bar("paillier", "fixed-base table", table_seconds, "s"),
        Bar("paillier", f"encrypt 10^6, {EXPONENT_BITS}-bit exponent", encrypt_seconds * scale, "s", 8.0),
        Bar("paillier", "prove knowledge of 10^6", prove_seconds * scale, "s"),
        Bar("paillier", f"check {ADDENDS} partners' proofs of 10^6, each decryptor", ADDENDS * verify_seconds * scale, "s"),
        Bar("paillier", "encrypt 10^6, published half-length exponent", half_seconds * 10 * scale, "s"),
        Bar("paillier", f"check units of {ADDENDS} partners' 10^6 and add them, without proofs", add_seconds * scale, "s", 3.0),
        Bar("paillier", "up", (len(proof) + len(body)) / length, "bytes/parameter", 9.0),
        Bar("paillier", "decrypt with both primes", decrypt_seconds / len(sample) * 1e3, "ms/ciphertext"),
        Bar("paillier", "times faster than one phe ciphertext a number", naive * length / encrypt_seconds, "x", 1000.0),
    ]


@cache
def phe_key() -> Any:
    """Return a public key of ``phe`` with 3072 bits."""
    return phe.PaillierPublicKey(generate_key(3072, rng=RNG).public.n)


def phe_seconds() -> float:
    """Return CPU seconds of one phe encryption of a float."""
    public = phe_key()
    return seconds(lambda: [public.encrypt(0.0123) for _ in range(10)], 1)[1] / 10


def threshold_bars() -> list[Bar]:
    """Measure threshold decryption, 4 of 5, on a sample of 40 ciphertexts at 3072 bits."""
    primes, prime_seconds = seconds(lambda: (generate_safe_prime(1536, rng=RNG), generate_safe_prime(1536, rng=RNG)), 1)
    key, shares = deal(*primes, parties=5, threshold=4, rng=RNG)
    ciphertexts = Encryptor(key.public).encrypt(range(40), rng=RNG)
    exponent = 2 * key.delta * shares[1].value
    _, bare = seconds(lambda: [gmpy2.powmod(c, exponent, key.public.n_squared) for c in ciphertexts], 1)
    started = time.perf_counter()
    partials, partial_seconds = seconds(lambda: partially_decrypt(key, shares[1], ciphertexts), 1)
    waited = time.perf_counter() - started
    proof, prove_seconds = seconds(lambda: prove(key, shares[1], ciphertexts, partials, rng=RNG), 1)
    _, verify_seconds = seconds(lambda: verify(key, 1, ciphertexts, partials, proof), 1)
    return [
        Bar("paillier", "two safe primes (once)", prime_seconds, "s"),
        Bar("paillier", "partial decryption", partial_seconds / 40 * 1e3, "ms/ciphertext", 60.0),
        Bar("paillier", "partial decryption, times a bare gmpy2.powmod of the same length", partial_seconds / bare, "x"),
        Bar("paillier", "partial decryption, cores kept busy", partial_seconds / waited, "cores"),
        Bar("paillier", "proof of a vector of 40", prove_seconds, "s"),
        Bar("paillier", "check of a vector of 40", verify_seconds, "s"),
    ]


def ckks_bars(length: int) -> list[Bar]:
    """Measure CKKS with the parameters of the arm, and the error that is left after flooding (5 partners)."""
    params = CkksParams()
    key, key_seconds = seconds(lambda: CkksKey(params))
    rows = np.resize(values(length).astype(np.float64), (-(-length // params.slots), params.slots))
    precision = SumPrecision(
        degree=params.degree, modulus_bits=params.ring.modulus_bits, clients=5, limit=2**31 - 1,
        ciphertexts=len(rows), releases=1, statistical_bits=40,
    )  # fmt: skip
    context = key.public._context
    _, bare = seconds(lambda: [tenseal.ckks_vector(context, row, scale=precision.scale) for row in rows])
    _, served = seconds(lambda: [tenseal.ckks_vector(context, row, scale=precision.scale).serialize() for row in rows])
    bodies, whole = seconds(lambda: [key.public.encrypt(row, scale=precision.scale) for row in rows])
    size = sum(map(len, bodies)) / length
    return [
        Bar("ckks", "key generation", key_seconds, "s"),
        Bar("ckks", "encrypt 10^6 without serialisation", bare * LENGTH / length, "s", 0.7),
        Bar("ckks", "encrypt 10^6 with serialisation", whole * LENGTH / length, "s", 0.9),
        Bar("ckks", "encrypt 10^6, times TenSEAL's own calls", whole / served, "x"),
        Bar("ckks", "up", size, "bytes/parameter", 33.0),
        Bar("ckks", "error bound after flooding / largest sum", precision.error_bound / precision.limit, ""),
    ]


def bfv_bars(length: int) -> list[Bar]:
    """Measure BFV with the parameters of the arm: one 34-bit residue carries a 32-bit sum."""
    params = BfvParams()
    key, key_seconds = seconds(lambda: BfvKey(params))
    rows = np.resize(values(length), (-(-length // params.degree), params.degree))
    (context,) = key.public._contexts
    _, served = seconds(lambda: [tenseal.bfv_vector(context, row).serialize() for row in rows])
    bodies, taken = seconds(lambda: [part for row in rows for part in key.public.encrypt(row)])
    size = sum(map(len, bodies)) / length
    return [
        Bar("bfv", "key generation", key_seconds, "s"),
        Bar("bfv", "encrypt 10^6 for a 32-bit sum, with serialisation", taken * LENGTH / length, "s", 0.7),
        Bar("bfv", "encrypt 10^6, times TenSEAL's own calls", taken / served, "x"),
        Bar("bfv", "up for a 32-bit sum", size, "bytes/parameter", 33.0),
    ]


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "homomorphic.json")
    options = parser.parse_args()
    bars, encryptions = [], [phe_seconds()]
    for measure in (paillier_bars, lambda _: threshold_bars(), ckks_bars, bfv_bars):
        found = measure(LENGTH)
        encryptions.append(phe_seconds())
        bars += [bar.record(statistics.mean(encryptions[-2:])) for bar in found]
        for bar in found:
            print(bar)
    result = {
        "schema_version": "1.0", "seed": SEED, "measured_on": LENGTH,
        "environment": environment("gmpy2", "tenseal", "phe", "numpy"),
        "phe_encryption_seconds": encryptions, "phe_encryption_reference_seconds": REFERENCE_SECONDS,
        "bars": bars,
    }  # fmt: skip
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
