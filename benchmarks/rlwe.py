"""What the threshold RLWE sum costs: every bar at a million coordinates, beside TenSEAL's CKKS in the same run.

    python benchmarks/rlwe.py [--long] [--out benchmarks/results/rlwe.json]

Seconds at ten million coordinates (``--long``) are divided by ten, so that the same bars hold. CPU seconds of one core (the
median of several runs and their range), bytes apart from time. Ten partners, seven of ten decryptors. A bar is held against
the median; the machine's load is in the result, because CPU seconds grow when the caches are shared.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tenseal
from numpy.typing import NDArray

from benchmarks.environment import environment
from securefl.crypto.rlwe.budget import NoiseBudget, smallest_budget
from securefl.crypto.rlwe.cipher import (
    Encryptor,
    Half,
    PartialDecryptor,
    chunks,
    decode_total,
    generate_part,
    read_half,
    reference_element,
)
from securefl.crypto.rlwe.encoding import decode_elements, element_size, encode_elements
from securefl.crypto.rlwe.product import ShortMultiplier, canonical, multiply, reduce_centred
from securefl.crypto.rlwe.ring import Residues, Ring, zeros
from securefl.crypto.rlwe.samplers import centred_binomial, expand_uniform, fresh_key, ternary, uniform
from securefl.crypto.rlwe.sharing import combine, deal, weights_at_zero
from securefl.crypto.rlwe.transform import invert, transform
from securefl.types import SystemRng

SEED = 20261121
RESULTS = Path(__file__).parent / "results"
RNG = SystemRng()
PARTNERS, THRESHOLD, LENGTH = 10, 7, 10**6
CASES = (("32-bit sums", 2**31 - 1, 3), ("24-bit sums", 2**23 - 1, 2))
"""Name, largest sum, attempts in the noise budget."""
CKKS_DEGREE, CKKS_PRIMES, CKKS_SCALE = 8192, [60, 40, 40], 2.0**40
"""The parameters that federated frameworks ship."""


@dataclass(frozen=True)
class Figure:
    """A measured figure: ``value`` with the range of its ``n`` runs, and the bar that it is held against."""

    case: str
    name: str
    value: float
    unit: str
    bar: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 1


@dataclass
class Sink:
    """Collects figures and prints them as they come."""

    figures: list[Figure]

    def time(
        self, case: str, name: str, work: Callable[[], Any], *, bar: float | None = None, n: int = 5, scale: float = 1
    ) -> Any:
        """Measure ``work``, CPU seconds times ``scale``; return what it gives."""
        taken, result = [], None
        for _ in range(n):
            started = time.process_time()
            result = work()
            taken.append((time.process_time() - started) * scale)
        self.add(Figure(case, name, statistics.median(taken), "s", bar, min(taken), max(taken), n))
        return result

    def add(self, figure: Figure) -> None:
        """Keep a figure."""
        self.figures.append(figure)
        verdict = "" if figure.bar is None else f"  bar {figure.bar:g} {'met' if figure.value <= figure.bar else 'MISSED'}"
        print(f"{figure.case:12} {figure.name:58} {figure.value:10.4g} {figure.unit}{verdict}", flush=True)


def values(budget: NoiseBudget, length: int, seed: int) -> NDArray[np.int64]:
    """Return one partner's coordinates as rows of elements with canaries, shape (elements, N)."""
    count, slots = budget.elements(length), budget.slots
    most = budget.limit // PARTNERS
    plain = np.zeros((count, budget.ring.degree), np.int64)
    plain[:, :slots] = np.random.default_rng(seed).integers(-most, most + 1, (count, slots))
    return plain


def make_key(budget: NoiseBudget) -> tuple[Encryptor, dict[int, Residues]]:
    """Return the joint public key and the decryptors' shares, all holders in this process."""
    ring, points = budget.ring, range(1, PARTNERS + 1)
    reference, public = reference_element(ring, b"benchmark"), zeros(ring, 1)[0]
    shares = {point: zeros(ring, 1)[0] for point in points}
    for _ in points:
        part = generate_part(reference, ring, rng=RNG)
        ring.add(public, part.public)
        for point, share in deal(part.secret, ring, threshold=THRESHOLD, points=points, rng=RNG).items():
            ring.add(shares[point], share)
    return Encryptor(public, reference, budget), shares


def sum_wire(bodies: list[bytes], half: Half, count: int, ring: Ring) -> Residues:
    """Add one half of all ciphertexts as they come from the wire."""
    total = zeros(ring, count)
    for part in chunks(count):
        ring.add_all(total[part], (read_half(body, half, part, ring) for body in bodies))
    return total


def add_decoded(decoded: list[Residues], ring: Ring) -> Residues:
    """Add decoded elements."""
    total = zeros(ring, len(decoded[0]))
    for part in chunks(len(total)):
        ring.add_all(total[part], (addend[part] for addend in decoded))
    return total


def masked_answer(decryptor: PartialDecryptor, keyed: Residues, ring: Ring) -> bytes:
    """One decryptor's answer: product, smudging, masks with the six others, packing. Masks here do not cancel."""
    keys = [fresh_key(RNG) for _ in range(THRESHOLD - 1)]
    out = np.empty((len(keyed), element_size(ring)), np.uint8)
    for part in chunks(len(keyed)):
        total = decryptor.answer(keyed[part], rng=RNG)
        for key in keys:
            ring.add(total, expand_uniform(key, ring, len(total)))
        out[part] = encode_elements(total, ring)
    return out.tobytes()


def combine_answers(total: Residues, answers: list[bytes], budget: NoiseBudget) -> NDArray[np.int64]:
    """Add the answers from the wire to the message halves' sum, and decode."""
    ring, size = budget.ring, element_size(budget.ring)
    opened = np.empty((len(total), ring.degree), np.int64)
    for part in chunks(len(total)):
        joined, count = total[part].copy(), part.stop - part.start
        cut = slice(part.start * size, part.stop * size)
        ring.add_all(joined, (decode_elements(answer[cut], ring, count) for answer in answers))
        opened[part] = decode_total(joined, budget)
    return opened


def peak(work: Callable[[], bytes]) -> float:
    """Return the peak memory of ``work`` over the bytes that it gives; inputs are not counted."""
    tracemalloc.start()
    content = work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / len(content)


def measure_addition(sink: Sink, case: str, bodies: list[bytes], budget: NoiseBudget) -> None:
    """Measure the addition of ten ciphertexts that lie decoded in memory."""
    count = len(bodies[0]) // (2 * element_size(budget.ring))
    decoded = [read_half(one, Half.KEYED, slice(0, count), budget.ring) for one in bodies]
    scale = LENGTH / (budget.slots * count)
    twice = partial(map, partial(add_decoded, ring=budget.ring), (decoded, decoded))
    sink.time(case, "add ten, decoded (both halves)", lambda: list(twice()), bar=0.1, scale=scale)


def measure(sink: Sink, case: str, limit: int, attempts: int, length: int = LENGTH) -> None:
    """Measure one budget, every step of a sum, and check that the opened sum is bit-exact."""
    budget = smallest_budget(
        holders=PARTNERS, threshold=THRESHOLD, clients=PARTNERS, limit=limit, length=length, attempts=attempts
    )  # fmt: skip
    ring, per, wide = budget.ring, LENGTH / length, len(budget.ring.prime_bits) > 3
    sink.add(Figure(case, "primes", len(ring.prime_bits), "", None))
    sink.add(Figure(case, "modulus", math.log2(ring.modulus), "bits", 106 if ring.degree == 4096 else None))
    sink.add(Figure(case, "distance of all answers, total variation", -budget.distance_bits, "log2", -40))
    encryptor, shares = make_key(budget)
    plain = [values(budget, length, SEED + i) for i in range(PARTNERS)]
    seconds = partial(sink.time, case, scale=per, n=5 if length == LENGTH else 1)
    bar = 1.1 if wide else 0.8
    body = seconds("encrypt, sampling and packing included", lambda: encryptor.encrypt(plain[0], rng=RNG), bar=bar)
    bodies = [body, *(encryptor.encrypt(one, rng=RNG) for one in plain[1:])]
    sink.add(Figure(case, "upload", len(body) / length, "bytes/parameter", 26.5 if wide else 23))
    count = len(plain[0])
    measure_addition(sink, case, bodies, budget)
    seconds("add ten, from the wire (both halves)", lambda: [sum_wire(bodies, half, count, ring) for half in Half], bar=1.0)
    keyed, message = sum_wire(bodies, Half.KEYED, count, ring), sum_wire(bodies, Half.MESSAGE, count, ring)
    points = tuple(range(4, 11))
    weights = weights_at_zero(points, ring.primes)
    holders = [PartialDecryptor(shares[point], weights[point], budget) for point in points]
    first = partial(masked_answer, holders[0], keyed, ring)
    sent = seconds("partial decryption, smudging, masks and packing included", first, bar=0.75)
    sink.add(Figure(case, "a decryptor sends", len(sent) / length, "bytes/parameter", 13.5))
    answers = [encode_elements(holder.answer(keyed, rng=RNG), ring).tobytes() for holder in holders]
    gather = partial(combine_answers, message, answers, budget)
    opened = seconds("combine seven answers from the wire and decode", gather, bar=0.3)
    wrong = float((opened != sum(plain)).sum())
    sink.add(Figure(case, "wrong coordinates of the opened sum", wrong, "", 0))
    sink.add(Figure(case, "encrypt, peak memory", peak(lambda: encryptor.encrypt(plain[0], rng=RNG)), "x ciphertext", 3))
    sink.add(Figure(case, "partial decryption, peak memory", peak(first) / 2, "x ciphertext", 3))


def transforms(sink: Sink) -> None:
    """Measure one transform and its inverse, in microseconds a polynomial of 4096 coefficients."""
    block = np.random.default_rng(SEED).normal(size=(4, 4, 4096))
    spectrum = transform(block)
    sink.time("transform", "forward, each", lambda: [transform(block) for _ in range(20)], scale=1 / 320)
    sink.time("transform", "inverse and rounding, each", lambda: [invert(spectrum.copy()) for _ in range(20)], scale=1 / 320)
    ring = Ring(4096, (26,) * 4)
    one = uniform(ring, 1, rng=RNG)[0]
    sink.time("transform", "product of two elements of four primes", lambda: multiply(one, one, ring))


def ckks(sink: Sink) -> None:
    """Measure TenSEAL's CKKS at the parameters that frameworks ship, with one secret key."""
    case = "ckks"
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, CKKS_DEGREE, coeff_mod_bit_sizes=CKKS_PRIMES)
    context.global_scale = CKKS_SCALE
    slots = CKKS_DEGREE // 2
    rows = np.resize(np.random.default_rng(SEED).normal(0, 0.05, LENGTH), (-(-LENGTH // slots), slots))

    def encrypt() -> list[bytes]:
        return [tenseal.ckks_vector(context, row).serialize() for row in rows]

    bodies = sink.time(case, "encrypt and serialise", encrypt, n=5)
    sink.add(Figure(case, "upload", sum(map(len, bodies)) / LENGTH, "bytes/parameter"))
    read = [tenseal.ckks_vector_from(context, body) for body in bodies]
    sink.time(case, "decrypt (one key, no threshold)", lambda: [one.decrypt() for one in read], n=3)


def key_additive(sink: Sink) -> None:
    """The price of the variant that is left out: encryption under a short key of one's own with public polynomials.

    Two primes carry a 32-bit sum of ten and its noise. The sum of keys and errors that it opens is not proven safe.
    """
    case, ring = "key-additive", Ring(4096, (24, 24))
    count = -(-LENGTH // ring.degree)
    public = uniform(ring, count, rng=RNG)
    plain = np.random.default_rng(SEED).integers(-(2**27), 2**27, (count, ring.degree))
    factors = np.array([(ring.modulus >> 32) % prime for prime in ring.primes], np.int64)[:, None]
    secret = ternary(1, ring.degree, rng=RNG).astype(np.float64)

    def encrypt() -> bytes:
        short, out = transform(secret), []
        for part in chunks(count):
            product = np.stack([ShortMultiplier(one, ring).times(short[None])[0] for one in public[part]])
            product += centred_binomial(len(product), ring.degree, rng=RNG)[:, None]
            reduce_centred(product, ring)
            element = canonical(product, ring)
            ring.add(element, ring.reduce(ring.reduce(plain[part][:, None]).astype(np.int64) * factors))
            out.append(encode_elements(element, ring).tobytes())
        return b"".join(out)

    body = sink.time(case, "encrypt (left out: no proof covers it)", encrypt, n=3)
    sink.add(Figure(case, "upload (left out: no proof covers it)", len(body) / LENGTH, "bytes/parameter"))


def versus(sink: Sink) -> None:
    """Hold the 32-bit case against CKKS in this very run: both ratios must be below one."""
    found = {(figure.case, figure.name): figure.value for figure in sink.figures}
    ours, theirs = CASES[0][0], "ckks"
    encrypt = found[ours, "encrypt, sampling and packing included"] / found[theirs, "encrypt and serialise"]
    sink.add(Figure("versus ckks", "encrypt and serialise, ours over CKKS", encrypt, "x", 1))
    sink.add(Figure("versus ckks", "upload, ours over CKKS", found[ours, "upload"] / found[theirs, "upload"], "x", 1))


def key_generation(sink: Sink) -> None:
    """Measure one holder's local work for a key of ten: its part, ten shares, and the shares that it adds up."""
    budget = smallest_budget(holders=PARTNERS, threshold=THRESHOLD, clients=PARTNERS, limit=2**31 - 1, length=LENGTH)
    sink.time("keys", "all ten holders' parts and shares, without messages", lambda: make_key(budget), n=3)
    _, shares = make_key(budget)
    secret = combine({point: shares[point] for point in range(1, THRESHOLD + 1)}, budget.ring)
    sink.add(Figure("keys", "largest coefficient of the joint secret", float(_largest(secret, budget.ring)), "", PARTNERS))


def _largest(element: Residues, ring: Ring) -> int:
    wide = element.astype(np.int64)
    return int(np.minimum(wide, ring.column.astype(np.int64) - wide).max())


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="ten million coordinates instead (a few minutes, 8 GB)")
    parser.add_argument("--out", type=Path, help="benchmarks/results/rlwe.json, or rlwe_long.json")
    options = parser.parse_args()
    sink, started, length = Sink([]), {**environment("numpy", "tenseal"), "partners": PARTNERS, "threshold": THRESHOLD}, LENGTH
    if options.long:
        length = 10 * LENGTH
        measure(sink, CASES[0][0], CASES[0][1], CASES[0][2], length=length)
    else:
        transforms(sink)
        key_generation(sink)
        for case, limit, attempts in CASES:
            measure(sink, case, limit, attempts)
        ckks(sink)
        versus(sink)
        key_additive(sink)
    result = {
        "schema_version": "1.0", "seed": SEED, "measured_on": length, "environment": started,
        "figures": [asdict(figure) for figure in sink.figures],
    }  # fmt: skip
    out = options.out or RESULTS / ("rlwe_long.json" if options.long else "rlwe.json")
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
