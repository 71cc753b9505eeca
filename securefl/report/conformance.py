"""What an arm's transcript shows: the suite, the thresholds, the rules that held, and the ledger of what was opened.

The transcript is replayed by the same code as ``securefl transcript verify``. What a replay can't say: whether an input was
honest, whether the operator added up correctly, or who was behind a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from securefl.crypto.agreement import PUBLIC_SIZE
from securefl.crypto.bfv import BfvParams
from securefl.crypto.shamir import PRIME
from securefl.crypto.signature import VERIFY_KEY_SIZE
from securefl.evidence import PluginRecord, ProtocolRecord
from securefl.recipes import BUILT_IN, Opener
from securefl.records import ArmRecord
from securefl.secagg.ckks_sum import CkksOptions
from securefl.secagg.ledger import Ledger
from securefl.secagg.policy import MAX_PARTIES, Policy
from securefl.secagg.replay import RoundReport, TranscriptReport, verify_transcript
from securefl.secagg.roster import Roster
from securefl.secagg.transcript import read_transcript
from securefl.types import ClientId

ONE_KEY = "single-decryptor"
"""How every scheme's own warning begins where one party holds the whole decryption key."""
SAFE_PAILLIER_BITS = 3072
"""128-bit security (NIST SP 800-57 part 1); 2048 bits are 112."""


def decryptor_of(arm: ArmRecord) -> Opener:
    """Return who can open what is uploaded: the operator as it comes, nobody, one party alone, or a threshold of partners.

    Of another package's protocol it is what that declares.
    """
    if arm.plugin is not None:
        return arm.plugin.opener
    if any(note.startswith(ONE_KEY) for note in arm.notes):
        return "single"
    known = BUILT_IN.get(arm.scheme or "")
    return known.opener if known else "none"


def single_decryptors(arms: Iterable[ArmRecord]) -> tuple[str, ...]:
    """Return the arms whose uploads one party alone could open."""
    return tuple(arm.name for arm in arms if decryptor_of(arm) == "single")


def warnings_of(arm: ArmRecord, config: dict[str, Any]) -> tuple[str, ...]:
    """Return what must stand beside an arm's name wherever it is shown."""
    found = [foreign(arm.plugin)] if arm.plugin else []
    if decryptor_of(arm) == "single":
        found.append("one party holds the whole decryption key and could open every partner's update")
    bits = _paillier_bits(config)
    if arm.scheme == "paillier" and bits is not None and bits < SAFE_PAILLIER_BITS:
        found.append(f"{bits}-bit Paillier is 112-bit security at most: {SAFE_PAILLIER_BITS} bits are the minimum for new use")
    return tuple(found)


def foreign(plugin: PluginRecord) -> str:
    """Return what must be known of a protocol that securefl did not write."""
    return (
        f"the protocol comes from the package {plugin.origin}, not from securefl: none of securefl's proofs and protocol tests "
        "was made for it, and what it says of itself is its own word"
    )


def protocol_record(run: Path, name: str, arm: ArmRecord, config: dict[str, Any]) -> ProtocolRecord:
    """Return what the transcript ``name`` in the folder ``run`` shows of ``arm``.

    Raises:
        InputError: it can't be read.
        VerificationError: its chain or its roster does not hold.
    """
    path = run / name
    shown = verify_transcript(path)
    head, rounds, _ = read_transcript(path)
    roster = head.signed.roster if head.signed is not None else None
    cohorts = [_cohort(r, signed=shown.signed) for r in shown.rounds]
    everybody = frozenset().union(*cohorts) if roster is None else roster.clients
    rank, smallest = _exposure(cohorts, everybody, roster)
    return ProtocolRecord(
        arm=arm.name,
        transcript=name,
        wire_id=shown.wire_id,
        suite=_suite(arm, roster, config),
        decryptor=decryptor_of(arm),
        signed=shown.signed,
        parties=len(everybody),
        threshold=roster.policy.threshold if roster else None,
        colluders=roster.policy.colluders if roster else None,
        required=roster.policy.required if roster else None,
        rounds=len(rounds),
        messages=sum(r.messages for r in shown.rounds),
        bytes=sum(r.size for r in shown.rounds),
        dropouts=sum(len(everybody - cohort) for cohort in cohorts),
        violations=_violations(shown),
        last_hash=shown.last_hash.hex(),
        cohorts=len(set(cohorts)),
        openings=len(cohorts),
        rank=rank,
        smallest=smallest,
    )


def _violations(shown: TranscriptReport) -> tuple[str, ...]:
    return tuple(
        f"round {v.round}, {'operator' if v.party is None else f'partner {v.party}'}: {v.what}" for v in shown.violations
    )


def _cohort(report: RoundReport, *, signed: bool) -> frozenset[ClientId]:
    """Return whose inputs a round's sum holds: without envelopes that is every partner who sent anything."""
    return report.survivors if signed else frozenset(client for client in report.sent if client <= MAX_PARTIES)


def _exposure(
    cohorts: list[frozenset[ClientId]], everybody: frozenset[ClientId], roster: Roster | None
) -> tuple[int, int | None]:
    """Return the rank of the openings, and the fewest partners that they show if every round's inputs were the same."""
    if len(everybody) < 2:
        return len(set(cohorts)), min(map(len, cohorts), default=None)
    ledger = Ledger(everybody, Policy.smallest(len(everybody), colluders=0) if roster is None else roster.policy)
    for round, cohort in enumerate(cohorts):
        ledger.admit(round.to_bytes(4, "little"), cohort, round=round)
    found = ledger.exposure()
    return found.rank, None if found.smallest is None else len(found.smallest)


def _paillier_bits(config: dict[str, Any]) -> int | None:
    bits = config.get("secagg", {}).get("paillier_bits")
    return bits if isinstance(bits, int) else None


def _suite(arm: ArmRecord, roster: Roster | None, config: dict[str, Any]) -> tuple[str, ...]:
    """Return ciphers, curves, rings and key sizes, each from the roster, the config or the scheme's own parameters."""
    ring = config.get("secagg", {}).get("ring_bits", 32)
    if arm.scheme in ("masking", "masking-static") and roster is not None:
        return (
            f"masks {roster.cipher.value}, uniform in the ring of 2^{roster.quantizer.ring_bits}",
            f"Ed25519 signatures, {8 * VERIFY_KEY_SIZE}-bit keys",
            f"X25519 agreement, {8 * PUBLIC_SIZE}-bit keys, HKDF-SHA256",
            f"Shamir shares over a {PRIME.bit_length()}-bit prime field",
        )
    if arm.scheme == "paillier":
        return (f"Paillier, {_paillier_bits(config) or 'unknown'}-bit modulus", f"packed integers of {ring}-bit sums")
    if arm.scheme == "ckks":
        params, options = CkksOptions().params, CkksOptions()
        return (
            f"CKKS, ring degree {params.degree}, primes of {', '.join(map(str, params.prime_bits))} bits, 128-bit security",
            f"noise flooding of {options.statistical_bits}-bit statistical security",
        )
    if arm.scheme == "bfv":
        return (f"BFV, ring degree {BfvParams().degree}, 128-bit security",)
    if arm.plugin is not None:
        return (f"{arm.scheme} of {arm.plugin.origin}: its suite is not known here",)
    return ("no cryptography",) if arm.scheme == "plaintext" else (str(arm.scheme),)
