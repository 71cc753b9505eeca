"""SPEC.md can't drift: its tables are read, and compared with the bytes, numbers and reasons that the code has."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from masking_world import HashRng, World, make_input, make_setup

import securefl.secagg.masking as masking
from securefl.crypto.domain import Usage
from securefl.crypto.keystream import CHUNK_SIZE
from securefl.crypto.shamir import PRIME
from securefl.errors import AbortReason
from securefl.secagg.base import RoundContext
from securefl.secagg.envelope import Channel, head_size
from securefl.secagg.masking import MaskingOptions, set_up_static
from securefl.secagg.masking.graph_choice import commit_share, reveal_share
from securefl.secagg.masking.messages import PHASES, WIRE_ID, Phase, Signed
from securefl.secagg.masking.static import WIRE_ID as STATIC_WIRE_ID
from securefl.secagg.masking.static import advertise
from securefl.types import ClientId, Secret

SPEC = (Path(masking.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {ast.Add: operator.add, ast.Mult: operator.mul}


def table(heading: str) -> list[list[str]]:
    section = SPEC.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def evaluate(formula: str, **names: int) -> int:
    """The value of a formula of the tables: sums and products of numbers and names."""

    def walk(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.Name):
            return names[node.id]
        assert isinstance(node, ast.Constant)
        return int(str(node.value))

    return walk(ast.parse(formula, mode="eval").body)


def test_the_envelope_table_adds_up_to_the_head() -> None:
    rows = table("Envelope")
    total = sum(int(size) for _, size in rows[:-1])
    assert total == int(rows[-1][1].strip("*")) == head_size(WIRE_ID)


@pytest.mark.parametrize("ring_bits", [32, 64])
@pytest.mark.parametrize("tags", [0, 2])
@pytest.mark.parametrize("n", [4, 6])
def test_every_message_has_the_size_of_its_row(n: int, tags: int, ring_bits: int) -> None:
    if tags and ring_bits == 64:
        tags = 0
    setup = make_setup(n, options=MaskingOptions(sum_tags=tags), ring_bits=ring_bits)
    world = World(setup=setup, length=17, ring_bits=ring_bits).up_to(Phase.UNMASK)
    names = {"n": n, "k": n - 1, "d": 17, "w": ring_bits // 8, "T": tags, "a": 32 if tags else 0, "s": n, "m": n, "e": 0}
    rows = table("Client messages")
    assert [row[0] for row in rows] == list(PHASES)
    for name, number, _, formula in rows:
        phase = Phase[name.upper()]
        assert int(number) == phase
        for message in world.sent[phase].values():
            assert len(message) == head_size(WIRE_ID) + evaluate(formula, **names)
    for name, _, formula in table("Operator messages"):
        assert len(world.asked[Phase[name.upper()]]) == evaluate(formula, **names)


def test_every_reason_in_the_checks_exists_and_every_refusal_is_in_them() -> None:
    named = set(re.findall(r"[A-Z]{3,}_[A-Z_]+|MALFORMED|DIFFERENCING", SPEC.split("## What a client checks")[1]))
    assert named <= set(AbortReason.__members__)
    folder = Path(masking.__file__).parent
    sources = [folder / f"{name}.py" for name in ("client", "member", "messages", "keys")] + [folder.parent / "envelope.py"]
    used = {reason for path in sources for reason in re.findall(r"AbortReason\.([A-Z_]+)", path.read_text(encoding="utf-8"))}
    assert used <= named, used - named


def test_usages_and_constants_are_the_codes() -> None:
    usages = {row[0]: int(row[1]) for row in table("Key schedule")}
    assert usages == {
        "self mask": Usage.SELF_MASK,
        "pairwise mask": Usage.PAIR_MASK,
        "share seal": Usage.SHARE_SEAL,
        "tag key": Usage.SUM_TAG_KEY,
    }
    assert f"usage {Usage.SEED_COMMITMENT.value} " in SPEC
    assert f"chunks of {CHUNK_SIZE} bytes" in SPEC
    assert f"2^256 + {PRIME - (1 << 256)}" in SPEC
    assert f"`{WIRE_ID.decode()}`" in SPEC


def test_the_messages_that_choose_a_ring_have_the_sizes_of_their_rows() -> None:
    setup = make_setup(5)
    context = RoundContext(run_id=setup.run_id, round=0, roster_hash=setup.roster_hash, model_hash=bytes(32))
    channel = Channel(wire_id=WIRE_ID, context=context, keys=setup.signed.roster.keys)
    keys = {client: party.identity for client, party in setup.parties.items()}
    share = Secret(bytes(32))
    sealed = {client: commit_share(channel, client, share, 0, identity=key) for client, key in keys.items()}
    commits = {client: one.message for client, one in sealed.items()}
    me = ClientId(1)
    sent = {"commit": commits[me], "reveal": reveal_share(channel, me, share, commits, own=sealed[me], identity=keys[me])}
    rows = table("Choice of the ring")
    assert [row[0] for row in rows] == list(sent)
    for name, phase, _, formula in rows:
        assert len(sent[name]) == head_size(WIRE_ID) + evaluate(formula)
        assert sent[name][4 + len(WIRE_ID) + 1] == int(phase)
    section = SPEC.split("## Choice of the ring")[1].split("## Static")[0]
    assert set(re.findall(r"usage (\d+)", section)) == {str(Usage.GRAPH_COMMITMENT.value), str(Usage.GRAPH.value)}


def test_the_messages_of_static_masking_have_the_sizes_of_their_rows() -> None:
    setup = set_up_static(
        [ClientId(i) for i in range(1, 5)], quantizer=make_setup().signed.roster.quantizer, run_id=bytes(32), rng=HashRng("s")
    )
    context = RoundContext(run_id=bytes(32), round=0, roster_hash=setup.roster_hash, model_hash=bytes(32))
    channel = Channel(wire_id=STATIC_WIRE_ID, context=context, keys=setup.signed.roster.keys)
    me, key = ClientId(1), setup.parties[ClientId(1)].identity
    later = setup.round(replace(context, round=1))
    sent = {
        "advertise": advertise(channel, me, Secret(bytes(range(32))), identity=key),
        "masked_input": later.client(me, make_input(1, 17), rng=HashRng("unused")).outbound,
    }
    rows = table("Static masking")
    assert [row[0] for row in rows] == list(sent)
    for name, phase, _, formula in rows:
        assert len(sent[name]) == head_size(STATIC_WIRE_ID) + evaluate(formula, d=17, w=4)
        assert sent[name][4 + len(STATIC_WIRE_ID) + 1] == int(phase)
    section = SPEC.split("## Static masking")[1].split("\n## ")[0]
    assert f"head of {head_size(STATIC_WIRE_ID)} bytes" in section
    assert set(re.findall(r"usage (\d+)", section)) == {str(Usage.PAIR_MASK.value), str(Usage.RATCHET.value)}


def test_a_round_with_earlier_sums_has_the_size_of_its_row() -> None:
    rows = {row[0]: row[3] for row in table("Client messages")}
    signed = Signed(frozenset(map(ClientId, range(1, 5))), (frozenset(map(ClientId, range(1, 8))),))
    assert len(signed.encode()) == evaluate(rows["consistency"], s=4, e=2 + 2 * 7)
