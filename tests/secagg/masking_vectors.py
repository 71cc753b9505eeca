"""Makes the vectors of the masking protocol: ``python tests/secagg/masking_vectors.py`` writes them beside this file.

Positive vectors are whole rounds from stated seeds; negative ones are one operator message each, named by its corruption, with
the phase that it asks for and the reason of the abort that must follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from masking_world import CHACHA, World, make_setup

from securefl.errors import AbortReason
from securefl.secagg.codec import u16, u32
from securefl.secagg.masking.messages import Phase
from securefl.types import ClientId

FOLDER = Path(__file__).parent / "vectors"
RECEIVER = 1
BUNDLE_HEAD_SIZE = 35
SENDER_AT, ROUND_AT, RUN_AT, ROSTER_AT, MODEL_AT, PREVIOUS_AT, VIEW_AT, SIGNATURE_AT = 15, 17, 21, 53, 85, 117, 149, 221
HEAD_SIZE = 285


def play(name: str) -> World:
    """The rounds that the positive vectors hold."""
    match name:
        case "three-stay-32-bits-aes":
            return World(3, length=5, label=name).up_to(Phase.UNMASK)
        case "three-stay-64-bits-chacha20":
            setup = make_setup(3, ring_bits=64, options=CHACHA, label=name)
            return World(3, length=5, setup=setup, ring_bits=64, label=name).up_to(Phase.UNMASK)
        case "one-of-five-drops-before-its-input":
            world = World(5, length=3, label=name).up_to(Phase.SHARE_KEYS)
            world.ask(Phase.MASKED_INPUT, clients=[1, 2, 4, 5])
            world.ask(Phase.CONSISTENCY)
            world.ask(Phase.UNMASK)
            return world
    raise ValueError(name)


POSITIVE = ("three-stay-32-bits-aes", "three-stay-64-bits-chacha20", "one-of-five-drops-before-its-input")


def describe(name: str) -> dict[str, object]:
    """The content of one positive vector."""
    world = play(name)
    roster = world.setup.signed.roster
    return {
        "name": name,
        "run_id": world.context.run_id.hex(),
        "round": world.context.round,
        "model_hash": world.context.model_hash.hex(),
        "roster": roster.encoded.decode(),
        "roster_hash": roster.hash.hex(),
        "identity_seeds": {c: party.identity.seed().expose().hex() for c, party in world.setup.parties.items()},
        "client_randomness": f"SHA-256 of '{name} round 1 client N' and a counter in 8 bytes, little-endian",
        "inputs": {c: vector.tobytes().hex() for c, vector in world.inputs.items()},
        "client_messages": {p.name.lower(): {c: m.hex() for c, m in world.sent[p].items()} for p in Phase},
        "operator_messages": {p.name.lower(): m.hex() for p, m in world.asked.items()},
        "survivors": sorted(world.open().survivors),
        "sum": [int(value) for value in world.open().total],
    }


Rows = list[bytes]


def _rebuild(bundle: bytes, change: Callable[[Rows], Rows]) -> bytes:
    """Take a bundle's envelopes apart, change them, put them together again."""
    at, rows = BUNDLE_HEAD_SIZE, []
    while at < len(bundle):
        size = int.from_bytes(bundle[at : at + 4], "little")
        rows.append(bundle[at + 4 : at + 4 + size])
        at += 4 + size
    rows = change(rows)
    return bundle[: BUNDLE_HEAD_SIZE - 2] + u16(len(rows)) + b"".join(u32(len(row)) + row for row in rows)


def _flip(at: int, row: int = 1) -> Callable[[bytes], bytes]:
    def change(rows: Rows) -> Rows:
        changed = bytearray(rows[row])
        changed[at] ^= 1
        return [*rows[:row], bytes(changed), *rows[row + 1 :]]

    return lambda bundle: _rebuild(bundle, change)


def _sender(bundle: bytes) -> bytes:
    def change(rows: Rows) -> Rows:
        return [*rows[:-1], rows[-1][:SENDER_AT] + u16(9) + rows[-1][SENDER_AT + 2 :]]

    return _rebuild(bundle, change)


CORRUPTIONS: Mapping[str, tuple[Callable[[bytes], bytes], AbortReason]] = {
    "truncated": (lambda bundle: bundle[:-1], AbortReason.MALFORMED),
    "one-byte-more": (lambda bundle: bundle + b"\0", AbortReason.MALFORMED),
    "empty": (lambda bundle: b"", AbortReason.MALFORMED),
    "other-context": (lambda bundle: bytes([bundle[0] ^ 1]) + bundle[1:], AbortReason.WRONG_ROUND),
    "other-phase": (lambda bundle: bundle[:32] + bytes([bundle[32] ^ 7]) + bundle[33:], AbortReason.WRONG_ROUND),
    "version-flipped": (_flip(0), AbortReason.MALFORMED),
    "protocol-flipped": (_flip(6), AbortReason.MALFORMED),
    "round-flipped": (_flip(ROUND_AT), AbortReason.WRONG_ROUND),
    "run-flipped": (_flip(RUN_AT), AbortReason.WRONG_ROUND),
    "roster-flipped": (_flip(ROSTER_AT), AbortReason.WRONG_ROSTER),
    "model-flipped": (_flip(MODEL_AT), AbortReason.WRONG_MODEL),
    "previous-flipped": (_flip(PREVIOUS_AT), AbortReason.BAD_SIGNATURE),
    "view-flipped": (_flip(VIEW_AT), AbortReason.BAD_SIGNATURE),
    "signature-flipped": (_flip(SIGNATURE_AT), AbortReason.BAD_SIGNATURE),
    "stranger": (_sender, AbortReason.UNKNOWN_PARTY),
    "twice": (lambda bundle: _rebuild(bundle, lambda rows: [rows[0], *rows]), AbortReason.DUPLICATE_PARTY),
    "descending": (lambda bundle: _rebuild(bundle, lambda rows: rows[::-1]), AbortReason.MALFORMED),
    "without-the-receiver": (lambda bundle: _rebuild(bundle, lambda rows: rows[1:]), AbortReason.MISSING_SELF),
    "payload-flipped": (_flip(HEAD_SIZE), AbortReason.BAD_SIGNATURE),
    "too-few": (lambda bundle: _rebuild(bundle, lambda rows: rows[:2]), AbortReason.TOO_FEW_CLIENTS),
}
ASKS = (Phase.SHARE_KEYS, Phase.MASKED_INPUT, Phase.CONSISTENCY, Phase.UNMASK)


def negative(asks: Phase, corruption: str) -> dict[str, object] | None:
    """The content of one negative vector; ``None`` where the corruption does not exist in that phase."""
    change, reason = CORRUPTIONS[corruption]
    if corruption == "payload-flipped" and asks is Phase.CONSISTENCY:
        return None  # survivors are named by envelopes without payload
    if corruption == "too-few" and asks is Phase.CONSISTENCY:
        reason = AbortReason.THRESHOLD_LOWERED
    world = World(3, length=5, label=POSITIVE[0]).up_to(Phase(asks - 1))
    return {
        "corruption": corruption,
        "round_of": POSITIVE[0],
        "receiver": RECEIVER,
        "asks": asks.name.lower(),
        "message": change(world.bundle(asks)).hex(),
        "refused_because": reason.name,
    }


def receiver_at(asks: Phase) -> tuple[World, ClientId]:
    """The round of the negative vectors, waiting for the message that asks for ``asks``."""
    return World(3, length=5, label=POSITIVE[0]).up_to(Phase(asks - 1)), ClientId(RECEIVER)


def write() -> None:
    """Write every vector."""
    for name in POSITIVE:
        (FOLDER / "masking" / f"{name}.json").write_text(json.dumps(describe(name), indent=1, sort_keys=True) + "\n")
    for asks in ASKS:
        for corruption in CORRUPTIONS:
            content = negative(asks, corruption)
            if content is not None:
                path = FOLDER / "masking-refused" / f"{asks.name.lower()}-{corruption}.json"
                path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write()
