"""Rosters and key files: everybody signs, nothing can be exchanged, and rotation, revocation and loss have a way through."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from masking_world import HashRng
from typer.testing import CliRunner

from securefl.cli.roster import app
from securefl.crypto.keystream import Cipher
from securefl.crypto.signature import SigningKey, fingerprint
from securefl.errors import InputError, ParameterError, VerificationError
from securefl.quantize import Quantizer
from securefl.secagg.keyfile import create_key, load_key
from securefl.secagg.policy import Policy
from securefl.secagg.roster import Auditor, Partner, Roster, SignedRoster, load_roster, roster_content, save_roster
from securefl.types import ClientId, Rng, Secret, SystemRng

KEYS = {ClientId(i): SigningKey.generate(rng=HashRng(f"partner {i}")) for i in range(1, 6)}


def make(**changes: object) -> Roster:
    partners = tuple(Partner(client, f"partner {client}", key.verify_key) for client, key in KEYS.items())
    roster = Roster(epoch=1, partners=partners, policy=Policy.smallest(5), quantizer=Quantizer.for_sum(5, clip=1.0))
    return replace(roster, **changes)  # type: ignore[arg-type]


def signed_by_all(roster: Roster, keys: dict[ClientId, SigningKey] = KEYS) -> SignedRoster:
    signed = SignedRoster(roster, {})
    for client, key in keys.items():
        signed = signed.signed_by(client, key)
    return signed


def test_a_roster_is_good_once_everybody_signed() -> None:
    signed = SignedRoster(make(), {})
    for client, key in KEYS.items():
        with pytest.raises(VerificationError, match="lacks signatures"):
            signed.verify()
        signed = signed.signed_by(client, key)
    signed.verify()


def test_copies_signed_apart_are_merged() -> None:
    roster = make()
    copies = [SignedRoster(roster, {}).signed_by(client, key) for client, key in KEYS.items()]
    whole = copies[0]
    for copy in copies[1:]:
        whole = whole.merged(copy)
    whole.verify()
    with pytest.raises(VerificationError, match="different rosters"):
        whole.merged(SignedRoster(make(epoch=2), {}))


@pytest.mark.parametrize("bad_first", [True, False], ids=["bad first", "bad second"])
def test_a_copy_cannot_push_out_what_another_partner_signed(bad_first: bool) -> None:
    """Whoever sends its copy around can write anything under another's number, or add strangers."""
    whole = signed_by_all(make())
    forged = {client: bytes(64) for client in (ClientId(1), ClientId(2), ClientId(9))}
    bad = SignedRoster(whole.roster, {**forged, ClientId(3): whole.signatures[ClientId(3)]})
    merged = bad.merged(whole) if bad_first else whole.merged(bad)
    assert merged == whole
    merged.verify()
    assert bad.merged(bad).signatures == {ClientId(3): whole.signatures[ClientId(3)]}


def test_the_merge_says_whose_signature_in_which_copy_does_not_verify(tmp_path: Path) -> None:
    whole = signed_by_all(make())
    save_roster(whole, tmp_path / "whole.json")
    save_roster(SignedRoster(whole.roster, {**whole.signatures, ClientId(2): bytes(64)}), tmp_path / "bad.json")
    files = [str(tmp_path / name) for name in ("whole.json", "bad.json", "out.json")]
    ran = CliRunner().invoke(app, ["merge", *files[:2], "--out", files[2]])
    assert "bad.json: signatures of partners [2] do not verify" in ran.stderr
    load_roster(tmp_path / "out.json").verify()


CHANGES: dict[str, Callable[[Roster], Roster]] = {
    "threshold": lambda r: replace(r, policy=replace(r.policy, threshold=5)),
    "colluders": lambda r: replace(r, policy=replace(r.policy, colluders=0)),
    "minimum": lambda r: replace(r, policy=replace(r.policy, minimum=3)),
    "cipher": lambda r: replace(r, cipher=Cipher.CHACHA20),
    "clip": lambda r: replace(r, quantizer=replace(r.quantizer, clip=0.5)),
    "epoch": lambda r: replace(r, epoch=2),
    "name": lambda r: replace(r, partners=(replace(r.partners[0], name="other"), *r.partners[1:])),
    "key": lambda r: replace(r, partners=(replace(r.partners[0], verify_key=bytes(31) + b"\1"), *r.partners[1:])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_field_can_be_changed_after_signing(change: str) -> None:
    signed = signed_by_all(make())
    forged = SignedRoster(CHANGES[change](signed.roster), signed.signatures)
    assert forged.roster.hash != signed.roster.hash
    with pytest.raises(VerificationError, match="signature"):
        forged.verify()


def test_a_strangers_key_cannot_sign() -> None:
    with pytest.raises(VerificationError, match="not the one that the roster lists for client 2"):
        SignedRoster(make(), {}).signed_by(ClientId(2), KEYS[ClientId(3)])
    with pytest.raises(VerificationError, match=r"strangers \[9\]"):
        SignedRoster(make(), {**signed_by_all(make()).signatures, ClientId(9): bytes(64)}).verify()


@pytest.mark.parametrize(
    "changes",
    [{"partners": make().partners[::-1]}, {"partners": make().partners[:1] * 5}, {"partners": make().partners[:4]},
     {"epoch": 0}, {"sum_tags": 3}, {"neighbours": -1}, {"quantizer": Quantizer.for_sum(2, clip=1.0)}],
)  # fmt: skip
def test_an_impossible_roster_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        make(**changes)


def test_a_revocation_makes_a_new_epoch_that_all_who_stay_sign() -> None:
    old = signed_by_all(make())
    fresh = old.roster.without([ClientId(4)])
    assert fresh.epoch == 2
    assert fresh.clients == {1, 2, 3, 5}
    assert fresh.policy == Policy.smallest(4)
    stay = {client: key for client, key in KEYS.items() if client != 4}
    signed = signed_by_all(fresh, stay)
    signed.verify(newer_than=old.roster.epoch)
    with pytest.raises(VerificationError, match="epoch=1 must be > 1"):
        old.verify(newer_than=1)  # the revoked roster can't be brought back
    with pytest.raises(ParameterError, match="not on the roster"):
        fresh.without([ClientId(4)])
    with pytest.raises(ParameterError):
        fresh.without([ClientId(1), ClientId(2)])


def test_a_rotated_or_lost_key_is_replaced_by_a_roster_that_everybody_signs() -> None:
    new = SigningKey.generate(rng=HashRng("new key"))
    fresh = make().with_key(ClientId(2), new.verify_key)
    with pytest.raises(VerificationError):
        SignedRoster(fresh, {}).signed_by(ClientId(2), KEYS[ClientId(2)])
    signed_by_all(fresh, {**KEYS, ClientId(2): new}).verify(newer_than=1)
    with pytest.raises(ParameterError, match="not on the roster"):
        fresh.with_key(ClientId(9), new.verify_key)


def test_a_roster_file_round_trips(tmp_path: Path) -> None:
    signed = signed_by_all(make())
    save_roster(signed, tmp_path / "roster.json")
    loaded = load_roster(tmp_path / "roster.json")
    assert loaded.roster.hash == signed.roster.hash
    loaded.verify()


def as_text(change: Callable[[dict[str, Any]], object] = lambda content: None) -> str:
    content = roster_content(signed_by_all(make()))
    change(content["roster"])  # type: ignore[arg-type]
    return json.dumps(content)


SPELLINGS: dict[str, str] = {
    "threshold twice": as_text().replace('"threshold": 4', '"threshold": 5, "threshold": 4'),
    "a threshold of 4.9": as_text(lambda roster: roster.update(threshold=4.9)),
    "an unknown field": as_text(lambda roster: roster.update(note="threshold 5")),
    "a number as text": as_text(lambda roster: roster.update(epoch="1")),
    "true for one": as_text(lambda roster: roster.update(colluders=True)),
    "nested without end": "[" * 100_000,
    "signatures that are no table": as_text().split('"signatures"')[0] + '"signatures": 1.5}',
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_roster_has_one_spelling(tmp_path: Path, spelling: str) -> None:
    """Whoever signs reads the file: it must not say more, or something else, than what the signature covers."""
    path = tmp_path / "roster.json"
    path.write_text(as_text())
    load_roster(path).verify()
    path.write_text(SPELLINGS[spelling])
    with pytest.raises(InputError, match="roster"):
        load_roster(path)


@pytest.mark.parametrize("name", ["Acme", " acme", "ac me", "\uff41cme"])
def test_two_partners_cannot_be_told_apart_by_names_that_look_the_same(name: str) -> None:
    names = ["acme", name, "beta", "gamma", "delta"]
    partners = tuple(replace(partner, name=name) for partner, name in zip(make().partners, names, strict=True))
    with pytest.raises(ParameterError, match="look the same"):
        make(partners=partners)


@pytest.mark.parametrize("name", ["", "a" * 101, "acme\x1b[2K", "acme\nfingerprint 0000", "acme\u202e"])
def test_a_name_cannot_rewrite_the_screen_on_which_fingerprints_are_compared(name: str) -> None:
    key = KEYS[ClientId(1)].verify_key
    for make_one in (lambda: Partner(ClientId(1), name, key), lambda: Auditor(name, key)):
        with pytest.raises(ParameterError, match="printable"):
            make_one()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"roster": {}, "signatures": {}}'])
def test_rubbish_is_no_roster(tmp_path: Path, content: str) -> None:
    (tmp_path / "roster.json").write_text(content)
    with pytest.raises(InputError, match="roster"):
        load_roster(tmp_path / "roster.json")
    with pytest.raises(InputError, match="No such file"):
        load_roster(tmp_path / "absent.json")


@pytest.mark.parametrize("passphrase", [None, Secret(b"correct horse battery staple")])
def test_a_key_file_is_private_and_comes_back(tmp_path: Path, passphrase: Secret | None) -> None:
    path = tmp_path / "key.json"
    printed = create_key(path, rng=SystemRng(), passphrase=passphrase)
    assert path.stat().st_mode & 0o777 == 0o600
    key = load_key(path, passphrase=passphrase)
    assert fingerprint(key.verify_key) == printed
    assert (key.seed().expose().hex() in path.read_text()) is (passphrase is None)
    with pytest.raises(InputError, match="never overwritten"):
        create_key(path, rng=SystemRng())


def test_of_two_who_make_a_key_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking whether the file is there and writing it, the other one's key was overwritten."""
    path = tmp_path / "key.json"
    generate = SigningKey.generate

    def meanwhile(*, rng: Rng) -> SigningKey:
        monkeypatch.setattr(SigningKey, "generate", generate)
        create_key(path, rng=SystemRng())
        return generate(rng=rng)

    monkeypatch.setattr(SigningKey, "generate", meanwhile)
    with pytest.raises(InputError, match="never overwritten"):
        create_key(path, rng=SystemRng())
    load_key(path)
    with pytest.raises(InputError, match="can't write"):
        create_key(tmp_path / "absent" / "key.json", rng=SystemRng())


def test_a_sealed_key_needs_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    create_key(path, rng=SystemRng(), passphrase=Secret(b"right"))
    with pytest.raises(InputError, match="needs its passphrase"):
        load_key(path)
    with pytest.raises(VerificationError, match="wrong passphrase"):
        load_key(path, passphrase=Secret(b"wrong"))


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    create_key(path, rng=SystemRng())
    path.chmod(0o640)
    with pytest.raises(InputError, match="open to other users"):
        load_key(path)


def test_a_changed_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    create_key(path, rng=SystemRng())
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "seed": "00" * 32}))
    with pytest.raises(VerificationError, match="does not belong"):
        load_key(path)
    path.write_text(json.dumps({**content, "format": "other"}))
    with pytest.raises(InputError, match="no key file"):
        load_key(path)
