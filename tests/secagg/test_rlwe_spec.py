"""SPEC.md of the threshold RLWE sum can't drift: its tables are compared with the bytes and reasons that the code has."""

from __future__ import annotations

from pathlib import Path

import pytest
from rlwe_world import CLIENTS, LENGTH, OTHER_SET, World, make_setup, make_world
from test_masking_spec import evaluate

from securefl.crypto.rlwe.encoding import element_size
from securefl.crypto.rlwe.sharing import repetitions
from securefl.errors import AbortReason
from securefl.secagg import rlwe_sum
from securefl.secagg.committed_messages import ANSWER, COMMIT, UPLOAD, commitment_size
from securefl.secagg.envelope import head_size
from securefl.secagg.rlwe_sum.dealing import sealed_size
from securefl.secagg.rlwe_sum.key import WIRE_ID
from securefl.secagg.rlwe_sum.keygen import PHASES
from securefl.secagg.rlwe_sum.messages import AGREE, ZERO, Asks, encode_bundle

SPEC = (Path(rlwe_sum.__file__).parent / "SPEC.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    section = SPEC.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(make_setup())


def test_key_generation_is_as_the_table_says(world: World) -> None:
    rows = table("Key generation")
    assert tuple(row[0] for row in rows) == PHASES
    assert [int(row[1]) for row in rows] == list(range(1, 7))
    ring = world.scheme.cipher.budget.ring
    names = {"e": element_size(ring), "L": len(ring.primes), "R": repetitions(ring), "m": 5}
    deal = rows[2][3].replace("(m - 1)", str(names["m"] - 1))
    assert evaluate(deal, **names) == 4 * sealed_size(ring)
    # The other sizes are measured where the messages are: test_rlwe_keygen.
    assert [evaluate(rows[i][3], **names) for i in (0, 1, 3, 5)] == [64, 32 + names["e"], 32, 32]


def test_round_messages_have_the_sizes_of_their_rows(world: World) -> None:
    rows = {row[0]: row for row in table("Round")}
    numbers = {"commit": COMMIT, "upload": UPLOAD, "agree": AGREE, "zero": ZERO, "answer": ANSWER}
    assert {name: int(row[1]) for name, row in rows.items()} == numbers
    budget, head = world.scheme.cipher.budget, head_size(WIRE_ID)
    names = {"e": element_size(budget.ring), "k": budget.elements(LENGTH), "t": 4, "z": 32}
    size = {name: head + evaluate(row[4], **names) for name, row in rows.items()}
    assert commitment_size(world.scheme.terms) == size["commit"]
    assert len(world.uploads()[CLIENTS[0]].encoded) == size["upload"]
    said = {member: world.ask(member, world.request(members=OTHER_SET, attempt=2)) for member in OTHER_SET}
    assert {len(message) for message in said.values()} == {size["agree"]}
    shown = {member: world.ask(member, bytes((Asks.ANSWER,)) + encode_bundle(said)) for member in OTHER_SET}
    assert {len(message) for message in shown.values()} == {size["zero"]}
    asked = bytes((Asks.ANSWER_WITH_ZEROS,)) + encode_bundle(shown)
    assert {len(world.ask(member, asked)) for member in OTHER_SET} == {size["answer"]}


def test_every_reason_of_the_table_exists() -> None:
    reasons = [row[1] for row in table("What a decryptor refuses")]
    assert {AbortReason[reason] for reason in reasons}
    assert len(reasons) == len(set(reasons))
