"""The signed roster: who takes part, under which keys, with which thresholds, quantiser and cipher.

Every partner signs the whole roster; a client accepts a round only under the hash of the roster that it signed. What is
assumed of the keys: each partner checked the others' fingerprints over a channel that the operator does not control, and
keeps its private key to itself. A roster with a false key in it protects nobody from the key's owner.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from securefl.crypto.domain import Usage, tag
from securefl.crypto.keystream import Cipher
from securefl.crypto.signature import SIGNATURE_SIZE, VERIFY_KEY_SIZE, SigningKey, verify_signature
from securefl.errors import InputError, ParameterError, VerificationError
from securefl.files import parse_json, write_durably
from securefl.quantize import Quantizer
from securefl.secagg.policy import MAX_PARTIES, ExposureRule, Policy
from securefl.types import ClientId

WIRE_ID = b"roster/1"
MAX_NAME_LEN = 100


@dataclass(frozen=True, slots=True)
class Partner:
    """A partner's number, name and Ed25519 public key (32 bytes)."""

    client: ClientId
    name: str
    verify_key: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.client <= MAX_PARTIES:
            raise ParameterError(f"client={self.client} must be in 1..{MAX_PARTIES}")
        _require_name(self.name)
        if len(self.verify_key) != VERIFY_KEY_SIZE:
            raise ParameterError(f"verify key of {len(self.verify_key)} bytes must have {VERIFY_KEY_SIZE}")


@dataclass(frozen=True, slots=True)
class Auditor:
    """Whose signature under a report opens the gate to private data: name, Ed25519 public key (32 bytes).

    ``second_key`` is the SHA-256 of the auditor's ML-DSA-65 public key; where it is given, both signatures are needed.
    """

    name: str
    verify_key: bytes
    second_key: bytes = b""

    def __post_init__(self) -> None:
        _require_name(self.name)
        if len(self.verify_key) != VERIFY_KEY_SIZE:
            raise ParameterError(f"auditor's key of {len(self.verify_key)} bytes must have {VERIFY_KEY_SIZE}")
        if len(self.second_key) not in (0, hashlib.sha256().digest_size):
            raise ParameterError(f"auditor's second key of {len(self.second_key)} bytes must be a SHA-256 or absent")


@dataclass(frozen=True, kw_only=True)
class Roster:
    """What the partners agree on before a run. ``epoch`` counts the rosters of a consortium; a revocation makes a new one.

    A roster without auditors lets no private data in.
    """

    epoch: int
    partners: tuple[Partner, ...]
    policy: Policy
    quantizer: Quantizer
    cipher: Cipher = Cipher.AES_256
    sum_tags: int = 0
    neighbours: int = 0
    circle_threshold: int = 0
    exposure: ExposureRule = ExposureRule.WARN
    auditors: tuple[Auditor, ...] = ()

    def __post_init__(self) -> None:
        numbers = [partner.client for partner in self.partners]
        if sorted(set(numbers)) != numbers:
            raise ParameterError(f"partners {numbers} must be in ascending order, each once")
        if len({partner.verify_key for partner in self.partners}) != len(numbers):
            raise ParameterError("two partners have the same key")
        _require_distinct([partner.name for partner in self.partners])
        if len({auditor.verify_key for auditor in self.auditors}) != len(self.auditors):
            raise ParameterError("two auditors have the same key")
        if len(numbers) != self.policy.parties:
            raise ParameterError(f"partners={len(numbers)} must be the policy's parties={self.policy.parties}")
        if self.epoch < 1:
            raise ParameterError(f"epoch={self.epoch} must be >= 1")
        if self.sum_tags not in (0, 1, 2):
            raise ParameterError(f"sum_tags={self.sum_tags} must be 0, 1 or 2")
        if self.sum_tags and (self.quantizer.ring_bits != 32 or self.neighbours):
            raise ParameterError("a verifiable sum needs the 32-bit ring (soundness) and the complete graph (one key for all)")
        self._check_circles()
        self.quantizer.require_capacity(len(numbers))

    def _check_circles(self) -> None:
        k, t, n = self.neighbours, self.circle_threshold, len(self.partners)
        if k == t == 0:
            return  # the complete graph
        if k % 2 or not 2 <= k < n - 1:
            raise ParameterError(f"neighbours={k} must be even and in 2..n-2 (n={n}), or 0 for everyone")
        if not k + 1 < 2 * t <= 2 * k:
            raise ParameterError(f"circle_threshold={t} must be > (k + 1) / 2 and <= k (k={k})")

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes that are hashed and signed: JSON with sorted keys and no spaces."""
        return json.dumps(_roster_fields(self), sort_keys=True, separators=(",", ":")).encode()

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes under the roster's tag, 32 bytes."""
        return hashlib.sha256(tag(WIRE_ID, Usage.ROSTER, self.encoded)).digest()

    @cached_property
    def keys(self) -> Mapping[ClientId, bytes]:
        """Every partner's public key."""
        return {partner.client: partner.verify_key for partner in self.partners}

    @property
    def clients(self) -> frozenset[ClientId]:
        """Every partner's number."""
        return frozenset(self.keys)

    def sign(self, key: SigningKey) -> bytes:
        """Return ``key``'s signature over the whole roster, 64 bytes."""
        return key.sign(tag(WIRE_ID, Usage.ROSTER, self.encoded))

    def verify_signed(self, client: ClientId, signature: bytes) -> None:
        """Check that ``client`` made ``signature`` over the whole roster.

        Raises:
            VerificationError: it did not, or is not on the roster.
        """
        try:
            verify_signature(self.keys.get(client, b""), tag(WIRE_ID, Usage.ROSTER, self.encoded), signature)
        except VerificationError as error:
            raise VerificationError(f"roster signature of client {client}: {error}") from error

    def without(self, clients: Sequence[ClientId]) -> Roster:
        """Return the next epoch's roster without ``clients``, to be signed again by all who stay.

        Raises:
            ParameterError: a client is not on the roster, or too few stay for the thresholds.
        """
        strangers = sorted(set(clients) - self.clients)
        if strangers:
            raise ParameterError(f"client={strangers[0]} is not on the roster {sorted(self.clients)}")
        stay = tuple(partner for partner in self.partners if partner.client not in clients)
        policy = Policy.smallest(len(stay), colluders=self.policy.colluders, minimum=self.policy.minimum)
        return replace(self, epoch=self.epoch + 1, partners=stay, policy=policy)

    def with_key(self, client: ClientId, verify_key: bytes) -> Roster:
        """Return the next epoch's roster with a new key for ``client`` (rotation, or a lost key), to be signed again by all.

        Raises:
            ParameterError: the client is not on the roster.
        """
        if client not in self.clients:
            raise ParameterError(f"client={client} is not on the roster {sorted(self.clients)}")
        partners = tuple(replace(p, verify_key=verify_key) if p.client == client else p for p in self.partners)
        return replace(self, epoch=self.epoch + 1, partners=partners)


@dataclass(frozen=True, slots=True)
class SignedRoster:
    """A roster with the signatures that it has so far."""

    roster: Roster
    signatures: Mapping[ClientId, bytes]

    def verify(self, *, newer_than: int = 0) -> None:
        """Check that every partner signed, and that the epoch is above ``newer_than``.

        Raises:
            VerificationError: a signature is missing, is a stranger's or does not verify; or the roster is an old one.
        """
        missing = sorted(self.roster.clients - set(self.signatures))
        strangers = sorted(set(self.signatures) - self.roster.clients)
        if missing or strangers:
            raise VerificationError(f"roster lacks signatures of {missing} and has signatures of strangers {strangers}")
        if self.roster.epoch <= newer_than:
            raise VerificationError(f"roster epoch={self.roster.epoch} must be > {newer_than}")
        for client, signature in sorted(self.signatures.items()):
            self.roster.verify_signed(client, signature)

    def signed_by(self, client: ClientId, key: SigningKey) -> SignedRoster:
        """Return the roster with the signature of ``client`` added.

        Raises:
            VerificationError: ``key`` is not the key that the roster lists for ``client``.
        """
        if self.roster.keys.get(client) != key.verify_key:
            raise VerificationError(f"the key is not the one that the roster lists for client {client}")
        return SignedRoster(self.roster, {**self.signatures, client: self.roster.sign(key)})

    def merged(self, other: SignedRoster) -> SignedRoster:
        """Return the roster with the valid signatures of both copies: partners sign apart and send their copies around.

        What does not verify is left out: nobody can push another partner's signature out by one of its own making.

        Raises:
            VerificationError: the copies are of different rosters.
        """
        if other.roster.hash != self.roster.hash:
            raise VerificationError("the copies are of different rosters")
        valid = {}
        for client, signature in (*self.signatures.items(), *other.signatures.items()):
            with suppress(VerificationError):
                self.roster.verify_signed(client, signature)
                valid[client] = signature
        return SignedRoster(self.roster, valid)


def save_roster(signed: SignedRoster, path: Path) -> None:
    """Write ``signed`` as JSON.

    Raises:
        InputError: the file can't be written.
    """
    write_durably(path, json.dumps(roster_content(signed), indent=1, sort_keys=True).encode() + b"\n", mode=0o644)


def load_roster(path: Path) -> SignedRoster:
    """Return the roster in ``path``; its signatures are not verified yet.

    Raises:
        InputError: the file can't be read or is no roster.
    """
    try:
        return parse_roster(parse_json(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"roster {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"roster {path}: {type(error).__name__}: {error}") from error


def roster_content(signed: SignedRoster) -> dict[str, object]:
    """Return what :func:`parse_roster` reads: the roster's fields and its signatures, ready for JSON."""
    signatures = {str(client): signature.hex() for client, signature in sorted(signed.signatures.items())}
    return {"roster": _roster_fields(signed.roster), "signatures": signatures}


def parse_roster(content: Any) -> SignedRoster:
    """Return the roster that parsed JSON describes, in exactly the form that is hashed and signed.

    What a person reads in the file is then what the signatures cover: no field is ignored, rounded or converted.

    Raises:
        ValueError, KeyError, TypeError: it describes none (ParameterError is a ValueError).
    """
    fields = content["roster"]
    partners = tuple(
        Partner(ClientId(int(p["client"])), str(p["name"]), bytes.fromhex(p["verify_key"])) for p in fields["partners"]
    )
    roster = Roster(
        epoch=int(fields["epoch"]),
        partners=partners,
        policy=Policy(parties=len(partners), **{name: int(fields[name]) for name in ("threshold", "colluders", "minimum")}),
        quantizer=Quantizer(**fields["quantizer"]),
        cipher=Cipher(fields["cipher"]),
        sum_tags=int(fields["sum_tags"]),
        neighbours=int(fields["neighbours"]),
        circle_threshold=int(fields["circle_threshold"]),
        exposure=ExposureRule(fields["exposure"]),
        auditors=tuple(
            Auditor(str(a["name"]), bytes.fromhex(a["verify_key"]), bytes.fromhex(a["second_key"]))
            for a in fields.get("auditors", ())
        ),
    )
    signatures = {ClientId(int(client)): bytes.fromhex(value) for client, value in dict(content["signatures"]).items()}
    if any(len(signature) != SIGNATURE_SIZE for signature in signatures.values()):
        raise ValueError(f"a signature does not have {SIGNATURE_SIZE} bytes")
    signed = SignedRoster(roster, signatures)
    if json.dumps(roster_content(signed), sort_keys=True) != json.dumps(content, sort_keys=True):
        raise ValueError("it has fields or values that the roster's signed form does not have")
    return signed


def _require_name(name: str) -> None:
    """Check that a name can't rewrite the line that it is printed in: fingerprints are compared on a screen."""
    if not 1 <= len(name) <= MAX_NAME_LEN or not name.isprintable():
        raise ParameterError(f"name {name[:MAX_NAME_LEN]!a} must be 1..{MAX_NAME_LEN} printable characters")


def _require_distinct(names: Sequence[str]) -> None:
    """Check that no two names differ in width, case or spaces alone; letters of two alphabets may still look the same."""
    seen: set[str] = set()
    for name in names:
        folded = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        if folded in seen:
            raise ParameterError(f"two partners have the name {name!a}, or names that look the same")
        seen.add(folded)


def _roster_fields(roster: Roster) -> dict[str, object]:
    policy, quantizer = roster.policy, roster.quantizer
    auditors = [
        {"name": a.name, "verify_key": a.verify_key.hex(), "second_key": a.second_key.hex()} for a in roster.auditors
    ]
    # A roster without auditors has the bytes, and so the hash, that it had before there were any.
    return ({"auditors": auditors} if auditors else {}) | {
        "epoch": roster.epoch,
        "partners": [{"client": p.client, "name": p.name, "verify_key": p.verify_key.hex()} for p in roster.partners],
        "threshold": policy.threshold,
        "colluders": policy.colluders,
        "minimum": policy.minimum,
        "quantizer": {
            "clip": quantizer.clip,
            "scale_bits": quantizer.scale_bits,
            "ring_bits": quantizer.ring_bits,
            "max_weight": quantizer.max_weight,
        },
        "cipher": roster.cipher.value,
        "sum_tags": roster.sum_tags,
        "neighbours": roster.neighbours,
        "circle_threshold": roster.circle_threshold,
        "exposure": roster.exposure.value,
    }
