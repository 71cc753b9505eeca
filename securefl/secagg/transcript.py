"""The transcript of a run: every message in a hash chain, one JSON line each, replayed offline without any secret.

The first line names protocol, run and signed roster; a line ``round`` opens each round; a line ``message`` says who sent
what to whom. Masked vectors are kept as detached envelopes (their signed hash stays), and a message that is byte-identical
to an earlier one refers to it. Each line carries the hash of itself and of the line before: a changed, missing or moved line
breaks the chain from there on. What the chain can't show is a transcript whose end was cut off, unless its last hash was
published.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from securefl.crypto.domain import Usage, tag
from securefl.errors import InputError, VerificationError
from securefl.files import parse_json, writing, written_whole
from securefl.secagg.roster import SignedRoster, parse_roster, roster_content
from securefl.secagg.rounds import OPERATOR, Message
from securefl.types import ClientId

FORMAT = "securefl transcript 1"
DETACH_ABOVE_SIZE = 1 << 16
"""Clients' messages above this many bytes are kept by their first bytes, their size and their hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptHead:
    """What the first line says. ``head_size`` is how much of a long message is kept: a whole detached envelope."""

    wire_id: bytes
    run_id: bytes
    roster_hash: bytes
    signed: SignedRoster | None = None
    head_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A message as the transcript has it: ``data`` are its first ``len(data)`` bytes of ``size``; ``sha256`` is of all."""

    sender: ClientId
    receiver: ClientId
    phase: str
    data: bytes = field(repr=False)
    size: int
    sha256: bytes

    @property
    def detached(self) -> bool:
        """Whether the message was cut to its envelope's head."""
        return len(self.data) < self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRound:
    """One round of a transcript."""

    round: int
    model_hash: bytes
    messages: tuple[Recorded, ...]


class TranscriptWriter:
    """Writes a transcript line by line under a temporary name; leaving the block without an error renames it."""

    def __init__(self, path: Path, head: TranscriptHead) -> None:
        """Begin the transcript at ``path``.

        Raises:
            InputError: the file can't be written.
        """
        self._path = path
        self._head = head
        self._chain = _genesis()
        self._seen: dict[bytes, int] = {}
        self._sequence = 0
        self._file = written_whole(path, mode=0o666)
        self._handle = self._file.__enter__()
        signed = None if head.signed is None else roster_content(head.signed)
        self._line(
            {
                "kind": "run",
                "format": FORMAT,
                "wire_id": head.wire_id.decode(),
                "run_id": head.run_id.hex(),
                "roster_hash": head.roster_hash.hex(),
                "signed_roster": signed,
                "head_size": head.head_size,
            }
        )

    def add_round(self, round: int, *, model_hash: bytes, messages: Sequence[Message]) -> None:
        """Append a round's messages in the order in which they went over the wire."""
        self._line({"kind": "round", "round": round, "model_hash": model_hash.hex()})
        self._seen.clear()
        for message in messages:
            self._message(message)

    def _message(self, message: Message) -> None:
        digest = hashlib.sha256(message.data).digest()
        content: dict[str, object] = {
            "kind": "message",
            "sender": message.sender,
            "receiver": message.receiver,
            "phase": message.phase,
            "size": len(message.data),
            "sha256": digest.hex(),
        }
        if digest in self._seen:
            content["same_as"] = self._seen[digest]
        else:
            content["data"] = base64.b64encode(self._kept(message)).decode()
            self._seen[digest] = self._sequence
        self._line(content)

    def _kept(self, message: Message) -> bytes:
        """Return what is kept of a message: all of it, or a vector's head. Bundles of envelopes hold no vectors."""
        whole = len(message.data) <= DETACH_ABOVE_SIZE or (message.sender == OPERATOR and self._head.head_size > 0)
        return message.data if whole else message.data[: self._head.head_size]

    def _line(self, content: dict[str, object]) -> None:
        content["sequence"] = self._sequence
        self._chain = _link(self._chain, content)
        with writing(self._path):
            self._handle.write(_canonical({**content, "chain": self._chain.hex()}).encode() + b"\n")
        self._sequence += 1

    def __enter__(self) -> TranscriptWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.__exit__(kind, error, trace)

    @property
    def head_hash(self) -> bytes:
        """The chain's last hash so far, 32 bytes: publish it, and nobody can cut the end off."""
        return self._chain


def read_transcript(path: Path) -> tuple[TranscriptHead, tuple[RecordedRound, ...], bytes]:
    """Return head, rounds and last hash of the transcript at ``path``, its chain verified.

    Raises:
        InputError: the file can't be read or is no transcript.
        VerificationError: the chain breaks, naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"transcript {path}: {error}") from error
    chain = _genesis()
    contents: list[dict[str, Any]] = []
    for content, expected in _parse(path, lines):
        chain = _link(chain, content)
        if chain.hex() != expected or content.get("sequence") != len(contents):
            raise VerificationError(f"transcript {path}: the chain breaks at line {len(contents) + 1}")
        contents.append(content)
    try:
        return _read_head(contents[0]), tuple(_read_rounds(contents)), chain
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"transcript {path}: {type(error).__name__}: {error}") from error


def _parse(path: Path, lines: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    for number, line in enumerate(lines, 1):
        try:
            content = parse_json(line)
            yield content, content.pop("chain")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise InputError(f"transcript {path}: line {number} is no entry") from error


def _read_head(content: dict[str, Any]) -> TranscriptHead:
    if content["kind"] != "run" or content["format"] != FORMAT:
        raise ValueError(f"the first line is not of format {FORMAT!r}")
    signed = content["signed_roster"]
    return TranscriptHead(
        wire_id=_printable(content["wire_id"]).encode(),
        run_id=bytes.fromhex(content["run_id"]),
        roster_hash=bytes.fromhex(content["roster_hash"]),
        signed=None if signed is None else parse_roster(signed),
        head_size=_whole(content["head_size"], 4),
    )


def _read_rounds(contents: Sequence[dict[str, Any]]) -> Iterator[RecordedRound]:
    """Yield the rounds; a reference to an earlier message is resolved within its round."""
    starts = [index for index, content in enumerate(contents) if content["kind"] == "round"]
    if starts[:1] != [1] and len(contents) > 1:
        raise ValueError("the second line does not open a round")
    for start, end in itertools.pairwise([*starts, len(contents)]):
        if any(content["kind"] != "message" for content in contents[start + 1 : end]):
            raise ValueError("an entry of a round is no message")
        data = {c["sequence"]: base64.b64decode(c["data"], validate=True) for c in contents[start + 1 : end] if "data" in c}
        messages = tuple(
            Recorded(
                sender=ClientId(_whole(content["sender"], 2)),
                receiver=ClientId(_whole(content["receiver"], 2)),
                phase=_printable(content["phase"]),
                data=data[content.get("same_as", content["sequence"])],
                size=_whole(content["size"], 8),
                sha256=bytes.fromhex(content["sha256"]),
            )
            for content in contents[start + 1 : end]
        )
        for message in messages:
            if len(message.data) > message.size:
                raise ValueError(f"a message from {message.sender} is longer than the size that is written beside it")
            if not message.detached and hashlib.sha256(message.data).digest() != message.sha256:
                raise ValueError(f"a message from {message.sender} does not have the hash that is written beside it")
        yield RecordedRound(
            round=_whole(contents[start]["round"], 4),
            model_hash=bytes.fromhex(contents[start]["model_hash"]),
            messages=messages,
        )


def _whole(value: Any, size: int) -> int:
    """Return the integer ``value``, if it is one that ``size`` bytes hold."""
    if type(value) is not int or not 0 <= value < 1 << (8 * size):
        raise ValueError(f"{value!r} must be a whole number of {size} bytes")
    return value


def _printable(value: Any) -> str:
    """Return the text ``value``, if it can be shown on a terminal as it is."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!a} must be printable text")
    return value


def _genesis() -> bytes:
    return hashlib.sha256(tag(b"", Usage.TRANSCRIPT)).digest()


def _link(chain: bytes, content: dict[str, object]) -> bytes:
    return hashlib.sha256(tag(b"", Usage.TRANSCRIPT, chain, _canonical(content).encode())).digest()


def _canonical(content: dict[str, object]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
