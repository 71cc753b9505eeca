"""Who is who, and which model: substituted keys, a roster of the operator's own, and a model for one partner alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from attacks.conformance.ballots import Ballots
from attacks.conformance.lab import (
    ENCRYPTED,
    LENGTH,
    MASKING,
    Deviation,
    Lab,
    Outcome,
    reached,
    ring_of,
    updates_of,
)
from attacks.conformance.masking_stage import VICTIM, MaskingStage, combined
from securefl.crypto import agreement
from securefl.crypto.sealed import decrypt_once, encrypt_once
from securefl.crypto.shamir import SHARE_SIZE
from securefl.crypto.signature import SigningKey
from securefl.secagg.envelope import NO_VIEW, Slip, head_size, seal
from securefl.secagg.journal import MemoryJournal
from securefl.secagg.ledger import Ledger
from securefl.secagg.masking import MaskingSetup
from securefl.secagg.masking.keys import KeyEnd, KeySchedule
from securefl.secagg.masking.messages import (
    SEALED_PAIR_SIZE,
    WIRE_ID,
    Phase,
    SharePair,
    decode_sealed,
    encode_sealed,
)
from securefl.secagg.masking.protocol import Party
from securefl.secagg.roster import Partner, Roster, SignedRoster
from securefl.secagg.rounds import run_round
from securefl.types import ClientId, Secret

TESTS = "tests/attacks/test_conformance_masking.py"
WHAT = "the victim's vector"


class _Impostor:
    """An operator that plays every other partner towards the victim, with keys of its own."""

    def __init__(self, lab: Lab, stage: MaskingStage) -> None:
        self._stage, self._signer = stage, SigningKey.generate(rng=lab.rng)
        self.peers = [client for client in stage.clients if client != VICTIM]
        self._mask = {c: agreement.generate_secret(rng=lab.rng) for c in self.peers}
        self._seal = {c: agreement.generate_secret(rng=lab.rng) for c in self.peers}

    @property
    def publics(self) -> Mapping[ClientId, bytes]:
        """The mask keys that the victim is made to use."""
        return {client: agreement.public_key(secret) for client, secret in self._mask.items()}

    def adverts(self) -> dict[ClientId, bytes]:
        """Return the envelopes that advertise the impostor's keys in everyone's name."""
        found = {}
        for client in self.peers:
            advert = replace(
                self._stage.advert(client),
                mask_key=self.publics[client],
                seal_key=agreement.public_key(self._seal[client]),
            )
            found[client] = self._envelope(Phase.ADVERTISE_KEYS, client, advert.encode(), NO_VIEW)
        return found

    def _envelope(self, phase: Phase, client: ClientId, payload: bytes, view: bytes, previous: bytes | None = None) -> bytes:
        channel = self._stage.channel
        slip = Slip(phase=phase, sender=client, previous=previous or channel.genesis(client), view=view)
        return seal(channel, slip, [payload], key=self._signer).message

    def shares(self, adverts: Mapping[ClientId, bytes], list_hash: bytes) -> dict[ClientId, bytes]:
        """Return share messages that the victim can open: rubbish for everybody else."""
        keys, victim = KeySchedule(self._stage.channel), KeyEnd(VICTIM, self._stage.advert(VICTIM).seal_key)
        found = {}
        for client in self.peers:
            me = KeyEnd(client, agreement.public_key(self._seal[client]))
            key = keys.share_seal(self._seal[client], me, victim, sending=True)
            share = Secret((1).to_bytes(SHARE_SIZE, "little"))
            pair = SharePair(share, share, Secret(b"")).encode()
            sealed = {other: bytes(SEALED_PAIR_SIZE) for other in self._stage.clients if other != client}
            sealed[VICTIM] = encrypt_once(key, pair, keys.share_binding(list_hash, client, VICTIM))
            head = adverts[client][: head_size(WIRE_ID)]
            previous = hashlib.sha256(head).digest()
            found[client] = self._envelope(Phase.SHARE_KEYS, client, encode_sealed(sealed), list_hash, previous)
        return found

    def read(self, message: bytes, list_hash: bytes) -> dict[ClientId, SharePair]:
        """Return the share pairs that the victim sealed for the others: for the impostor."""
        keys, victim = KeySchedule(self._stage.channel), KeyEnd(VICTIM, self._stage.advert(VICTIM).seal_key)
        sealed = decode_sealed(memoryview(message[head_size(WIRE_ID) :]))
        found = {}
        for client in self.peers:
            me = KeyEnd(client, agreement.public_key(self._seal[client]))
            key = keys.share_seal(self._seal[client], victim, me, sending=False)
            found[client] = SharePair.decode(
                decrypt_once(key, sealed[client], keys.share_binding(list_hash, VICTIM, client)), 0
            )
        return found


def key_substitution(lab: Lab) -> Outcome:
    """Give the victim the operator's keys in everyone's name, read the shares that it seals to them, open its vector."""
    stage = MaskingStage(lab, lab.set_up())
    impostor = _Impostor(lab, stage)
    adverts = impostor.adverts()
    listed = stage.bundle(Phase.SHARE_KEYS, replace=adverts)
    list_hash = hashlib.sha256(listed).digest()
    shares = stage.show(VICTIM, listed, Phase.SHARE_KEYS)
    pairs = impostor.read(shares, list_hash)
    stage.show(VICTIM, stage.bundle(Phase.MASKED_INPUT, replace=impostor.shares(adverts, list_hash)), Phase.MASKED_INPUT)
    threshold = stage.setup.signed.roster.policy.threshold
    seed = combined({c: pair.seed_share for c, pair in pairs.items()}, threshold)
    mask_key = combined({c: pair.key_share for c, pair in pairs.items()}, threshold)
    if seed is None or mask_key is None:
        return Outcome("failed", "too few shares")
    return reached(stage.inputs[VICTIM], stage.unmask(VICTIM, seed, mask_key, impostor.publics), WHAT)


def sybil_roster(lab: Lab) -> Outcome:
    """Found a consortium of the victim and four partners of the operator's own; the victim never signed it."""
    setup, updates = lab.set_up(), updates_of()
    honest: Roster = setup.signed.roster  # type: ignore[attr-defined]
    identities = {c: SigningKey.generate(rng=lab.rng) for c in sorted(honest.clients)}
    victim = setup.parties[VICTIM].identity  # type: ignore[attr-defined]
    partners = tuple(
        Partner(c, f"sybil {c}", victim.verify_key if c == VICTIM else key.verify_key) for c, key in identities.items()
    )
    roster = replace(honest, partners=partners)
    signed = SignedRoster(roster, {c: roster.sign(key) for c, key in identities.items()})
    signed.verify()
    parties = {
        c: Party(victim if c == VICTIM else key, MemoryJournal(), Ledger(roster.clients, roster.policy))
        for c, key in identities.items()
    }
    sybils = MaskingSetup(run_id=setup.run_id, signed=signed, parties=parties, setup_seconds=0.0)
    opened = run_round(
        sybils, updates, weights=dict.fromkeys(updates, 1), round=1, model_hash=bytes(32), rng=lab.rng,
        quantizer=roster.quantizer,
    )  # fmt: skip
    left = opened.total - sum(update for c, update in updates.items() if c != VICTIM)
    return reached(updates[VICTIM], left, WHAT)


def shown_model(model: bytes) -> bytes:
    """Return the hash of the model that a client was shown: it hashes what it got, not what it was told."""
    return hashlib.sha256(model).digest()


def _dead_model_inputs() -> dict[ClientId, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return what partners send where all but the victim were shown a model whose units are all dead: zeros."""
    return {c: update if c == VICTIM else np.zeros(LENGTH) for c, update in updates_of().items()}


def model_inconsistency(lab: Lab) -> Outcome:
    """Show everyone but the victim a model on which nothing has a gradient: the sum is then the victim's update."""
    inputs = _dead_model_inputs()
    models = {c: shown_model(b"real" if c == VICTIM else b"dead") for c in inputs}
    setup = lab.set_up()
    if lab.scheme in ENCRYPTED:
        total = Ballots(lab, setup, models=models, inputs=inputs).open_all()
    else:
        stage = MaskingStage(lab, setup, models=models, inputs=inputs).up_to(Phase.UNMASK)
        total = stage.open()
    quantizer = lab.quantizer()
    return reached(ring_of(inputs[VICTIM], quantizer).view(np.int32)[:-1], total[:-1], WHAT)


KEYS = Deviation(
    name="key_substitution",
    view="V5",
    against=MASKING,
    run=key_substitution,
    broken=f"{TESTS}::test_unsigned_keys_are_substituted",
)
SYBILS = Deviation(
    name="sybil_roster", view="V5", against=MASKING, run=sybil_roster, broken=f"{TESTS}::test_an_unverified_roster_takes_sybils"
)
MODELS = Deviation(
    name="model_inconsistency",
    view="V5",
    against=(*MASKING, *ENCRYPTED),
    run=model_inconsistency,
    broken="tests/attacks/test_conformance_masking.py::test_a_model_that_is_not_hashed_isolates_the_victim",
)
