"""A hundred thousand mutated inputs to every decoder that meets bytes from outside: a typed error or the same value, no crash.

Mutations of valid messages reach deeper than random bytes: flipped bits, cut tails, repeated and foreign middles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from stand_ins import CountingRng

from securefl.crypto.bfv import BfvKey, BfvParams
from securefl.crypto.ckks import CkksKey, CkksParams, CkksPublic
from securefl.crypto.paillier import Encryptor, PrivateKey, PublicKey, decode_ciphertexts, encode_ciphertexts, generate_key
from securefl.errors import SecureFLError
from securefl.quantize import Quantizer
from securefl.secagg import paillier_sum
from securefl.secagg.base import DECRYPTOR_BASE, Continue, RoundContext
from securefl.types import ClientId

pytestmark = pytest.mark.slow
INPUTS = 100_000
RLWE_INPUTS = 40_000
"""A ciphertext of 65 kB takes a millisecond to parse; together the slow tests see 200,000 inputs."""
CLIENTS = tuple(ClientId(i) for i in range(1, 6))


def mutated(content: bytes, draw: np.random.Generator) -> bytes:
    """One mutation of ``content``."""
    data = bytearray(content)
    kind, at = int(draw.integers(6)), int(draw.integers(len(data)))
    if kind == 0:
        data[at] ^= 1 << int(draw.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at : at + 8] = draw.bytes(8)
    elif kind == 3:
        data += draw.bytes(int(draw.integers(1, 40)))
    elif kind == 4:
        data[at:at] = data[:at][-16:] or b"\0"
    else:
        # Small headers are where lengths and counts lie.
        at %= 64
        data[at : at + 4] = int(draw.integers(2**32)).to_bytes(4, "little")
    return bytes(data)


@lru_cache(maxsize=1)
def paillier_key() -> PrivateKey:
    return generate_key(2048, rng=CountingRng(1))


@lru_cache(maxsize=1)
def ckks_key() -> CkksKey:
    return CkksKey(CkksParams())


@lru_cache(maxsize=1)
def bfv_key() -> BfvKey:
    return BfvKey(BfvParams())


def hammer(content: bytes, decode: Callable[[bytes], object], *, inputs: int) -> tuple[int, int]:
    """Feed mutations of ``content`` to ``decode``; return how many were read and how many refused with a typed error."""
    draw = np.random.default_rng(20261121)
    read = refused = 0
    for _ in range(inputs):
        try:
            decode(mutated(content, draw))
            read += 1
        except SecureFLError:
            refused += 1
    return read, refused


def test_paillier_ciphertexts() -> None:
    public = paillier_key().public
    content = encode_ciphertexts(public, Encryptor(public).encrypt([1, -2], rng=CountingRng(2)))
    read, refused = hammer(content, lambda data: decode_ciphertexts(public, data, count=2), inputs=INPUTS)
    assert read + refused == INPUTS
    assert refused > INPUTS / 4


def test_paillier_bodies() -> None:
    """Proof and ciphertexts together: no mutation is accepted."""
    quantizer = Quantizer.for_sum(5, clip=1.0, max_weight=8)
    options = paillier_sum.PaillierOptions(decryption=paillier_sum.Decryption.SINGLE, bits=2048)
    setup = paillier_sum.set_up(CLIENTS, quantizer=quantizer, run_id=bytes(32), rng=CountingRng(), options=options)
    assert isinstance(setup, paillier_sum.SingleSetup)
    cipher, me = setup.keys.opener(1).cipher, CLIENTS[0]
    body = cipher.encrypt(np.array([1, 2], dtype=np.uint32), me=me, rng=CountingRng(1))
    assert hammer(body, lambda data: cipher.add_proven({me: memoryview(data)}, 2), inputs=1000) == (0, 1000)


def test_paillier_public_keys() -> None:
    """A changed modulus is odd and composite half of the time, and then as good a modulus as any: it decodes."""
    _, refused = hammer(paillier_key().public.encode(), PublicKey.decode, inputs=3000)
    assert refused > 1000


def test_ckks_ciphertexts() -> None:
    public = ckks_key().public
    content = public.encrypt(np.zeros(public.params.slots), scale=2.0**28)
    _, refused = hammer(content, lambda data: public.read(data, scale=2.0**28), inputs=RLWE_INPUTS)
    assert refused > RLWE_INPUTS / 4


def test_bfv_ciphertexts() -> None:
    public = bfv_key().public
    content = public.encrypt(np.zeros(public.params.degree, dtype=np.int64))[0]
    _, refused = hammer(content, lambda data: public.read(data, residue=0), inputs=RLWE_INPUTS)
    assert refused > RLWE_INPUTS / 4


def test_contexts() -> None:
    content = ckks_key().public.encode()
    _, refused = hammer(content, lambda data: CkksPublic.decode(data, CkksParams()), inputs=1500)
    assert refused > 300


def test_lists_uploads_and_requests() -> None:
    quantizer = Quantizer.for_sum(5, clip=1.0, max_weight=8)
    options = paillier_sum.PaillierOptions(decryption=paillier_sum.Decryption.SINGLE, bits=2048)
    setup = paillier_sum.set_up(CLIENTS, quantizer=quantizer, run_id=bytes(32), rng=CountingRng(), options=options)
    scheme = setup.round(RoundContext(run_id=bytes(32), round=1, roster_hash=setup.roster_hash, model_hash=bytes(32)))
    clients = {me: scheme.client(me, np.array([1, 2], dtype=np.uint32), rng=CountingRng(me)) for me in CLIENTS}
    commits = {me: step.outbound for me, step in clients.items()}
    listed = scheme.server(frozenset(CLIENTS)).next(commits)
    assert isinstance(listed, Continue)
    uploads = {me: clients[me].state.next(listed.outbound[me]) for me in CLIENTS}
    messages = {me: step.outbound for me, step in uploads.items() if isinstance(step, Continue)}
    requested = listed.state.next(messages)
    assert isinstance(requested, Continue)
    request = requested.outbound[ClientId(DECRYPTOR_BASE + 1)]
    decryptor = scheme.decryptors(rng=CountingRng())[ClientId(DECRYPTOR_BASE + 1)]
    targets: list[tuple[bytes, Callable[[bytes], object]]] = [
        (commits[CLIENTS[0]], lambda data: scheme.server(frozenset(CLIENTS)).next({**commits, CLIENTS[0]: data})),
        (listed.outbound[CLIENTS[0]], clients[CLIENTS[0]].state.next),
        (messages[CLIENTS[0]], lambda data: listed.state.next({**messages, CLIENTS[0]: data})),
        (request, decryptor.next),
    ]
    for content, receive in targets:
        read, refused = hammer(content, receive, inputs=5000)
        # Every byte of every message is signed or hashed: no mutation is accepted.
        assert (read, refused) == (0, 5000)
