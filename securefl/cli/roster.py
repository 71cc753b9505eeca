"""``securefl roster``: who takes part, under which keys and rules; a roster counts once every partner has signed it.

The procedure: one partner creates the roster from everybody's public keys, whose fingerprints were compared out of band; each
partner reads it and signs its copy; the copies are merged; everybody verifies. A revoked or replaced key makes the next
epoch's roster, which is signed by all again; an old epoch is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefl.cli.keys import Sealed, passphrase, read_public, read_second
from securefl.cli.output import emit_json, emit_table
from securefl.crypto.keystream import Cipher
from securefl.crypto.signature import fingerprint
from securefl.errors import InputError
from securefl.quantize import Quantizer
from securefl.secagg.keyfile import load_key
from securefl.secagg.policy import Policy
from securefl.secagg.roster import Auditor, Partner, Roster, SignedRoster, load_roster, save_roster
from securefl.types import ClientId

app = typer.Typer(help="Create, sign, verify and change the consortium's roster.", no_args_is_help=True)

RosterFile = Annotated[Path, typer.Argument(metavar="ROSTER", help="The roster's file.")]
Out = Annotated[Path, typer.Option("--out", help="File to write; refused if it exists.")]
Json = Annotated[bool, typer.Option("--json", help="Print for a program.")]


@app.command("create")
def create(
    public_keys: Annotated[list[Path], typer.Argument(metavar="PUBLIC...", help="Public keys; the file names the partner.")],
    out: Out,
    colluders: Annotated[int, typer.Option("--colluders", help="How many partners may work with the operator.")] = 1,
    minimum: Annotated[int, typer.Option("--minimum", help="The fewest honest partners that a sum must hide.")] = 2,
    clip: Annotated[float, typer.Option("--clip", help="Largest absolute value of an update.")] = 1.0,
    cipher: Annotated[Cipher, typer.Option("--cipher", help="Mask generator.")] = Cipher.AES_256,
    sum_tags: Annotated[int, typer.Option("--sum-tags", help="0, 1 or 2 tags that prove the opened sum.")] = 0,
    auditor: Annotated[
        list[Path] | None, typer.Option("--auditor", help="Public key of an auditor whose report opens private data.")
    ] = None,
) -> None:
    """Create the first roster of a consortium, unsigned.

    Example:

      securefl roster create acme.key.pub beta.key.pub gamma.key.pub --out roster.json
    """
    partners = tuple(
        Partner(ClientId(number), path.name.split(".")[0], read_public(path))
        for number, path in enumerate(public_keys, start=1)
    )
    roster = Roster(
        epoch=1,
        partners=partners,
        policy=Policy.smallest(len(partners), colluders=colluders, minimum=minimum),
        quantizer=Quantizer.for_sum(len(partners), clip=clip),
        cipher=cipher,
        sum_tags=sum_tags,
        auditors=tuple(Auditor(path.name.split(".")[0], read_public(path), read_second(path)) for path in auditor or ()),
    )
    write_new(SignedRoster(roster, {}), out)


@app.command("sign")
def sign(
    path: RosterFile,
    key: Annotated[Path, typer.Option("--key", help="This partner's private key.")],
    sealed: Sealed = False,
) -> None:
    """Add this partner's signature to its copy of the roster.

    Example:

      securefl roster sign roster.json --key acme.key
    """
    signed = load_roster(path)
    identity = load_key(key, passphrase=passphrase(confirm=False) if sealed else None)
    mine = [client for client, verify_key in signed.roster.keys.items() if verify_key == identity.verify_key]
    if not mine:
        raise InputError(f"roster {path} does not list the key {fingerprint(identity.verify_key)}")
    save_roster(signed.signed_by(mine[0], identity), path)
    typer.echo(f"{path}: signed by partner {mine[0]}")


@app.command("merge")
def merge(
    copies: Annotated[list[Path], typer.Argument(metavar="ROSTER...", help="Copies of one roster, each with signatures.")],
    out: Out,
) -> None:
    """Put the valid signatures of several copies together; says which copy has one that does not verify."""
    merged = SignedRoster(load_roster(copies[0]).roster, {})
    for path in copies:
        copy = load_roster(path)
        merged = merged.merged(copy)
        left_out = [int(client) for client, value in copy.signatures.items() if merged.signatures.get(client) != value]
        if left_out:
            typer.echo(f"warning: {path}: signatures of partners {sorted(left_out)} do not verify, left out", err=True)
    write_new(merged, out)


@app.command("verify")
def verify(
    path: RosterFile,
    newer_than: Annotated[int, typer.Option("--newer-than", help="The last epoch that was accepted.")] = 0,
    as_json: Json = False,
) -> None:
    """Check every signature and print who is on the roster; ends with 5 if anything does not hold."""
    signed = load_roster(path)
    signed.verify(newer_than=newer_than)
    roster = signed.roster
    rows = [
        {"partner": int(p.client), "name": p.name, "fingerprint": fingerprint(p.verify_key)} for p in roster.partners
    ]
    policy = {"threshold": roster.policy.threshold, "colluders": roster.policy.colluders, "required": roster.policy.required}
    if as_json:
        auditors = [{"name": a.name, "fingerprint": fingerprint(a.verify_key)} for a in roster.auditors]
        emit_json(
            {"epoch": roster.epoch, "hash": roster.hash.hex(), "policy": policy, "partners": rows, "auditors": auditors}
        )
        return
    emit_table(f"Roster {roster.hash.hex()[:16]}, epoch {roster.epoch}, signed by all {len(rows)}", rows)
    typer.echo(", ".join(f"{name} {value}" for name, value in policy.items()))
    for found in roster.auditors:
        typer.echo(f"auditor {found.name}: fingerprint {fingerprint(found.verify_key)}")


@app.command("revoke")
def revoke(
    path: RosterFile,
    partner: Annotated[int, typer.Option("--partner", help="The partner's number.")],
    out: Out,
    new_key: Annotated[Path | None, typer.Option("--new-key", help="A new public key instead.")] = None,
) -> None:
    """Make the next epoch's roster without a partner, or with a new key for it; all who stay sign it again.

    Example:

      securefl roster revoke roster.json --partner 3 --out roster-2.json
    """
    roster = load_roster(path).roster
    client = ClientId(partner)
    changed = roster.without([client]) if new_key is None else roster.with_key(client, read_public(new_key))
    write_new(SignedRoster(changed, {}), out)


def write_new(signed: SignedRoster, out: Path) -> None:
    """Write ``signed`` to a file that does not exist yet, and say what it is."""
    if out.exists():
        raise InputError(f"roster {out} exists already")
    save_roster(signed, out)
    roster = signed.roster
    typer.echo(f"{out}: epoch {roster.epoch}, {len(roster.partners)} partners, {len(signed.signatures)} signatures")
