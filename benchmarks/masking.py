"""What masking costs beside the bare keystreams: ``python -m benchmarks.masking`` writes ``benchmarks/results/masking.json``.

Every ratio is of CPU seconds measured in the same process, alternating, the best of several runs: other work on the machine
can only make a run slower. Bars (a client with 10 neighbours): kernel <= 1.5 x bare, whole client <= 2.5 x bare, unmasking
with 3 of 10 dropped <= 2 x its own bare cost, peak memory <= 3 vectors beyond the input, 4 bytes a parameter and a constant.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher as LibraryCipher
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.environment import environment
from securefl.crypto.keystream import CHUNK_SIZE, Cipher, masked_chunks
from securefl.quantize import Quantizer
from securefl.secagg import schemes
from securefl.secagg.base import ClientState, Continue, Finished, RoundContext
from securefl.secagg.journal import MemoryJournal
from securefl.secagg.masking import MaskingOptions, MaskingSetup
from securefl.secagg.masking.sum_tags import tag_vector
from securefl.types import ClientId, FloatVector, Secret, SystemRng

SEED = 20261121  # any: the inputs' values change no timing
NEIGHBOURS = 10
RESULT = Path(__file__).parent / "results" / "masking.json"
RNG = SystemRng()


def cpu_seconds(work: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the best CPU seconds of each piece of work, the pieces taking turns."""
    best = dict.fromkeys(work, float("inf"))
    for _ in range(repeats):
        for name, call in work.items():
            started = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - started)
    return best


def bare_keystreams(keys: list[bytes], size: int, cipher: Cipher) -> None:
    """Generate ``size`` bytes of each key's stream into one scratch buffer: the library's calls and nothing else."""
    zeros, scratch = memoryview(bytes(CHUNK_SIZE)), memoryview(bytearray(CHUNK_SIZE + 16))
    for key in keys:
        aead = AESGCM(key)
        stream = LibraryCipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()
        for index, start in enumerate(range(0, size, CHUNK_SIZE)):
            part = min(CHUNK_SIZE, size - start)
            if cipher is Cipher.AES_256:
                aead.encrypt_into(index.to_bytes(12, "little"), zeros[:part], None, scratch[: part + 16])
            else:
                stream.reset_nonce(bytes(4) + index.to_bytes(12, "little"))
                stream.update_into(zeros[:part], scratch)


def bare_additions(count: int, length: int) -> None:
    """Add a vector in the cache to a vector of ``length`` words, ``count`` times, chunk by chunk."""
    step = CHUNK_SIZE // 4
    total, words = np.zeros(length, "<u4"), np.ones(step, "<u4")
    for start in range(0, length, step):
        part = total[start : start + step]
        for _ in range(count):
            np.add(part, words[: len(part)], out=part)


def kernel(length: int, cipher: Cipher, repeats: int) -> dict[str, float]:
    """Return the kernel's ratio to bare keystreams and additions."""
    keys = [os.urandom(32) for _ in range(NEIGHBOURS)]
    secrets = [Secret(key) for key in keys]
    vector = np.zeros(length, "<u4")

    def mask() -> None:
        for _ in masked_chunks(vector, add=secrets[:5], subtract=secrets[5:], cipher=cipher):
            pass

    seconds = cpu_seconds(
        {
            "keystreams": lambda: bare_keystreams(keys, 4 * length, cipher),
            "additions": lambda: bare_additions(NEIGHBOURS, length),
            "kernel": mask,
        },
        repeats,
    )
    return {**seconds, "ratio": seconds["kernel"] / (seconds["keystreams"] + seconds["additions"])}


def make_run(clients: int, length: int, cipher: Cipher) -> tuple[MaskingSetup, dict[ClientId, FloatVector]]:
    """Return a run with ``clients`` and their float32 updates."""
    generator = np.random.default_rng(SEED)
    quantizer = Quantizer.for_sum(clients, clip=1.0)
    names = [ClientId(i) for i in range(1, clients + 1)]
    setup = schemes()["masking"](names, quantizer=quantizer, run_id=bytes(32), rng=RNG, options=MaskingOptions(cipher=cipher))
    if not isinstance(setup, MaskingSetup):
        raise TypeError("the masking scheme's set-up is a MaskingSetup")
    return setup, {name: generator.normal(0, 0.1, length).astype(np.float32) for name in names}


class SeededRng:
    """One client's generator, the same bytes every time: its round can be replayed against recorded operator messages."""

    def __init__(self) -> None:
        self._count = 0

    def bytes(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        self._count += 1
        return hashlib.shake_128(b"benchmark client" + self._count.to_bytes(4, "little")).digest(size)


class RecordedClient:
    """Client 1 of a round of 11, with the operator messages that it got; :meth:`play` repeats its whole side of the round."""

    def __init__(self, length: int, cipher: Cipher) -> None:
        self.setup, self.updates = make_run(NEIGHBOURS + 1, length, cipher)
        self.me, self.length = ClientId(1), length
        context = RoundContext(run_id=bytes(32), round=1, roster_hash=self.setup.roster_hash, model_hash=bytes(32))
        self.scheme = self.setup.round(context)
        self.received: list[bytes] = []
        self.bytes_up = 0
        ring, own = np.zeros(length, "<u4"), np.empty(length, "<u4")
        self.setup.signed.roster.quantizer.encode_update(self.updates[self.me], 100, out=own)
        begun = {me: self.scheme.client(me, ring, rng=RNG) for me in self.updates if me != self.me}
        begun[self.me] = self.scheme.client(self.me, own, rng=SeededRng())
        states = {me: step.state for me, step in begun.items()}
        arrived = {me: step.outbound for me, step in begun.items()}
        server = self.scheme.server(frozenset(self.updates))
        while not isinstance(outcome := server.next(arrived), Finished):
            self.received.append(outcome.outbound[self.me])
            self.bytes_up += len(arrived[self.me])
            server, arrived = outcome.state, {}
            for me, message in outcome.outbound.items():
                answer = states[me].next(message)
                if isinstance(answer, Continue):
                    states[me], arrived[me] = answer.state, answer.outbound
        self.bytes_up += len(arrived[self.me])

    def play(self) -> None:
        """Quantise, make keys, share, mask, hash, sign, check every message: what the client computes in a round."""
        parties = {self.me: replace(self.setup.parties[self.me], journal=MemoryJournal())}
        ring = np.empty(self.length, "<u4")
        self.setup.signed.roster.quantizer.encode_update(self.updates[self.me], 100, out=ring)
        step = replace(self.scheme, parties=parties).client(self.me, ring, rng=SeededRng())
        state: ClientState = step.state
        for message in self.received:
            answer = state.next(message)
            if isinstance(answer, Continue):
                state = answer.state


def whole_client(length: int, cipher: Cipher, repeats: int) -> dict[str, float]:
    """Return a whole client's ratio to the bare keystreams and additions of its 10 neighbours, and its parts."""
    client, short = RecordedClient(length, cipher), RecordedClient(1000, cipher)
    quantizer, update = client.setup.signed.roster.quantizer, client.updates[client.me]
    ring = np.empty(length, "<u4")
    keys = [os.urandom(32) for _ in range(NEIGHBOURS)]
    secrets = tuple(Secret(os.urandom(32)) for _ in range(NEIGHBOURS + 1))

    def mask() -> None:
        for _ in masked_chunks(ring, add=secrets[:6], subtract=secrets[6:], cipher=cipher):
            pass

    seconds = cpu_seconds(
        {
            "masks_and_self_mask": mask,
            "keystreams": lambda: bare_keystreams(keys, 4 * length, cipher),
            "additions": lambda: bare_additions(NEIGHBOURS, length),
            "client": client.play,
            "quantise": lambda: quantizer.encode_update(update, 100, out=ring),
            "envelope_hash": lambda: hashlib.sha256(ring.data).digest(),
            "one_tag": lambda: tag_vector(ring, secrets[:1], cipher),
            "two_tags": lambda: tag_vector(ring, secrets[:2], cipher),
        },
        repeats,
    )
    per_parameter = (client.bytes_up - short.bytes_up) / (length - 1000)
    return {
        **seconds,
        "ratio": seconds["client"] / (seconds["keystreams"] + seconds["additions"]),
        "bytes_up": client.bytes_up,
        "bytes_down": sum(map(len, client.received)),
        "bytes_per_parameter": per_parameter,
        "constant_bytes": client.bytes_up - per_parameter * length,
    }


def unmasking(length: int, cipher: Cipher, repeats: int) -> dict[str, float]:
    """Return what taking the masks off costs with 3 of 10 dropped, against its own keystreams and additions."""
    setup, updates = make_run(10, length, cipher)
    context = RoundContext(run_id=setup.run_id, round=1, roster_hash=setup.roster_hash, model_hash=bytes(32))
    scheme, quantizer = setup.round(context), setup.signed.roster.quantizer
    states, arrived = {}, {}
    for me, update in updates.items():
        ring = np.empty(length, "<u4")
        quantizer.encode_update(update, 1, out=ring)
        step = scheme.client(me, ring, rng=RNG)
        states[me], arrived[me] = step.state, step.outbound
    server = scheme.server(frozenset(updates))
    for phase in range(1, 5):
        outcome = server.next(arrived)
        if isinstance(outcome, Finished):
            raise TypeError("the operator finished early")
        server, arrived = outcome.state, {}
        for me, message in outcome.outbound.items():
            answer = states[me].next(message)
            if isinstance(answer, Continue) and not (phase >= 2 and me > 7):
                states[me], arrived[me] = answer.state, answer.outbound
    streams = 7 + 3 * 7
    keys = [os.urandom(32) for _ in range(streams)]
    seconds = cpu_seconds(
        {
            "unmask": lambda: server.next(arrived),
            "keystreams": lambda: bare_keystreams(keys, 4 * length, cipher),
            "additions": lambda: bare_additions(streams, length),
        },
        repeats,
    )
    started = time.perf_counter()
    server.next(arrived)
    wall = time.perf_counter() - started
    return {**seconds, "wall": wall, "ratio": seconds["unmask"] / (seconds["keystreams"] + seconds["additions"])}


def peak_memory(length: int, cipher: Cipher) -> dict[str, float]:
    """Return the most memory that a client's round allocates beyond its float input, in vectors of the ring."""
    setup, updates = make_run(3, length, cipher)
    context = RoundContext(run_id=setup.run_id, round=1, roster_hash=setup.roster_hash, model_hash=bytes(32))
    scheme, quantizer = setup.round(context), setup.signed.roster.quantizer
    small = np.zeros(length, "<u4")
    waiting = {me: scheme.client(me, small, rng=RNG) for me in list(updates)[1:]}
    me = ClientId(1)
    tracemalloc.start()
    ring = np.empty(length, "<u4")
    quantizer.encode_update(updates[me], 1, out=ring)
    first = scheme.client(me, ring, rng=RNG)
    server = scheme.server(frozenset(updates))
    step = server.next({me: first.outbound, **{other: begun.outbound for other, begun in waiting.items()}})
    if isinstance(step, Finished):
        raise TypeError("the operator finished early")
    states = {other: begun.state for other, begun in waiting.items()} | {me: first.state}
    answers = {}
    for other, message in step.outbound.items():
        answer = states[other].next(message)
        if isinstance(answer, Continue):
            states[other], answers[other] = answer.state, answer.outbound
    step = step.state.next(answers)
    if isinstance(step, Finished):
        raise TypeError("the operator finished early")
    states[me].next(step.outbound[me])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"peak_bytes": float(peak), "vectors": peak / (4 * length)}


def flower(length: int, repeats: int) -> dict[str, float] | None:
    """Return CPU seconds of Flower's SecAgg+ client functions beside ours, where the extra ``bench-flower`` is installed.

    ``arithmetic``: quantise, self-mask and 10 pairwise masks. ``client``: with key pairs, agreement, shares and their
    encryption. Ours also checks 44 signatures, hashes and signs; Flower's client has nothing of that kind.
    """
    try:
        from flwr.common.secure_aggregation.crypto.shamir import create_shares
        from flwr.common.secure_aggregation.crypto.symmetric_encryption import encrypt, generate_shared_key
        from flwr.common.secure_aggregation.ndarrays_arithmetic import (
            parameters_addition,
            parameters_mod,
            parameters_multiply,
            parameters_subtraction,
        )
        from flwr.common.secure_aggregation.quantization import quantize
        from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
        from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes
    except ImportError:
        return None
    update = [np.random.default_rng(SEED).normal(0, 0.1, length)]

    def arithmetic() -> None:
        vector = quantize(parameters_multiply(update, 0.5), 8.0, 1 << 22)
        for neighbour in range(NEIGHBOURS + 1):
            mask = pseudo_rand_gen(os.urandom(32), 1 << 32, [(length,)])
            vector = (parameters_subtraction if neighbour % 2 else parameters_addition)(vector, mask)
        parameters_mod(vector, 1 << 32)

    def client() -> None:
        (first, _), (second, _) = generate_key_pairs(), generate_key_pairs()
        for secret in (os.urandom(32), private_key_to_bytes(first)):
            create_shares(secret, 7, NEIGHBOURS + 1)
        for _, public in peers:
            encrypt(generate_shared_key(second, public), bytes(400))
            generate_shared_key(first, public)
        arithmetic()

    peers = [generate_key_pairs() for _ in range(NEIGHBOURS)]
    ours, ring = RecordedClient(length, Cipher.AES_256), np.empty(length, "<u4")
    secrets = [Secret(os.urandom(32)) for _ in range(NEIGHBOURS + 1)]

    def our_arithmetic() -> None:
        ours.setup.signed.roster.quantizer.encode_update(ours.updates[ours.me], 100, out=ring)
        for _ in masked_chunks(ring, add=secrets[:6], subtract=secrets[6:], cipher=Cipher.AES_256):
            pass

    work = {"arithmetic": arithmetic, "client": client, "our_arithmetic": our_arithmetic, "our_client": ours.play}
    seconds = cpu_seconds(work, repeats)
    return {
        **seconds,
        "arithmetic_ratio": seconds["arithmetic"] / seconds["our_arithmetic"],
        "client_ratio": seconds["client"] / seconds["our_client"],
    }


def measure(length: int, repeats: int) -> dict[str, object]:
    """Return every figure with its bar."""
    figures: dict[str, object] = {
        "length": length,
        "neighbours": NEIGHBOURS,
        "environment": environment("numpy", "cryptography", "flwr"),
    }
    for cipher in Cipher:
        kernel_figures = kernel(length, cipher, repeats)
        figures[cipher.value] = {
            "kernel": kernel_figures,
            "client": whole_client(length, cipher, repeats),
            "unmasking_3_of_10_dropped": unmasking(length, cipher, max(2, repeats // 2)),
        }
    speeds = {cipher.value: kernel(1_000_000, cipher, repeats)["kernel"] for cipher in Cipher}
    figures["recommended_cipher"] = min(speeds, key=speeds.__getitem__)
    figures["peak_memory"] = peak_memory(length, Cipher.AES_256)
    figures["flower_secaggplus_at_1e6"] = flower(1_000_000, repeats)
    return figures


def bars(figures: dict[str, object]) -> dict[str, bool]:
    """Return which bars hold, for the default cipher."""
    aes, memory = figures[Cipher.AES_256.value], figures["peak_memory"]
    theirs = figures["flower_secaggplus_at_1e6"]
    if not isinstance(aes, dict) or not isinstance(memory, dict) or not isinstance(theirs, dict | None):
        raise TypeError("figures are nested records")
    return {
        "kernel <= 1.5 x bare": aes["kernel"]["ratio"] <= 1.5,
        "whole client <= 2.5 x bare": aes["client"]["ratio"] <= 2.5,
        "unmasking <= 2 x bare": aes["unmasking_3_of_10_dropped"]["ratio"] <= 2.0,
        "peak memory <= 3 vectors": memory["vectors"] <= 3.0,
        "one tag <= 0.35 x masking": aes["client"]["one_tag"] <= 0.35 * aes["client"]["masks_and_self_mask"],
        "two tags <= 0.60 x masking": aes["client"]["two_tags"] <= 0.6 * aes["client"]["masks_and_self_mask"],
        "arithmetic >= 8 x Flower's, where measured": theirs is None or theirs["arithmetic_ratio"] >= 8.0,
        "4 bytes a parameter": aes["client"]["bytes_per_parameter"] == 4.0,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    figures = measure(arguments.length, arguments.repeats)
    figures["bars"] = bars(figures)
    arguments.out.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    print(json.dumps(figures, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
