"""``securefl keys``: a partner's identity key, made at the partner and never sent anywhere."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from securefl.crypto import mldsa
from securefl.crypto.signature import VERIFY_KEY_SIZE, fingerprint
from securefl.errors import InputError
from securefl.files import write_durably
from securefl.secagg.keyfile import create_key, load_key
from securefl.types import Secret, SystemRng

app = typer.Typer(help="Make and show identity keys.", no_args_is_help=True)

PASSPHRASE_VARIABLE = "SECUREFL_PASSPHRASE"  # noqa: S105  (the name of a variable)
PUBLIC_SUFFIX = ".pub"
SECOND_SUFFIX = ".mldsa"
"""KEY.pub.mldsa: the ML-DSA-65 half, which reports are signed with beside Ed25519."""

KeyFile = Annotated[Path, typer.Argument(metavar="KEY", help="The private key's file; its public half is KEY.pub.")]
Sealed = Annotated[bool, typer.Option("--passphrase", help=f"Ask for a passphrase (or take it from {PASSPHRASE_VARIABLE}).")]


@app.command("create")
def create(path: KeyFile, sealed: Sealed = False) -> None:
    """Make an identity key (mode 0600), write its public half beside it, print the fingerprint to compare out of band.

    Example:

      securefl keys create acme.key --passphrase
    """
    for public in (Path(f"{path}{PUBLIC_SUFFIX}"), Path(f"{path}{PUBLIC_SUFFIX}{SECOND_SUFFIX}")):
        if public.exists() and not path.exists():
            raise InputError(f"public key {public} exists: it may be somebody's, or that of a key that was moved")
    secret = passphrase(confirm=True) if sealed else None
    shown = create_key(path, rng=SystemRng(), passphrase=secret)
    write_public(path, sealed_with=secret)
    typer.echo(f"{path}: fingerprint {shown}")


@app.command("show")
def show(path: KeyFile, sealed: Sealed = False) -> None:
    """Print the fingerprint of a private key, or of a public one (KEY.pub)."""
    if path.suffix == PUBLIC_SUFFIX:
        typer.echo(f"{path}: fingerprint {fingerprint(read_public(path))}")
        return
    key = load_key(path, passphrase=passphrase(confirm=False) if sealed else None)
    typer.echo(f"{path}: fingerprint {fingerprint(key.verify_key)}")


def write_public(path: Path, *, sealed_with: Secret | None) -> None:
    """Write the public halves of the key in ``path`` beside it: 64 hex digits, and those of ML-DSA-65 where it is there."""
    key = load_key(path, passphrase=sealed_with)
    write_durably(Path(f"{path}{PUBLIC_SUFFIX}"), key.verify_key.hex().encode() + b"\n", mode=0o644)
    if mldsa.AVAILABLE:
        second = mldsa.SecondKey(key).public_key.hex().encode() + b"\n"
        write_durably(Path(f"{path}{PUBLIC_SUFFIX}{SECOND_SUFFIX}"), second, mode=0o644)


def read_public(path: Path) -> bytes:
    """Return the public key in ``path``, 32 bytes.

    Raises:
        InputError: the file can't be read or holds no public key.
    """
    return _read_hex(path, VERIFY_KEY_SIZE)


def read_second(path: Path) -> bytes:
    """Return the SHA-256 of the ML-DSA-65 key beside the public key in ``path``; nothing if there is none.

    Raises:
        InputError: there is one, and it is no such key.
    """
    beside = Path(f"{path}{SECOND_SUFFIX}")
    return mldsa.key_hash(_read_hex(beside, mldsa.PUBLIC_KEY_SIZE)) if beside.exists() else b""


def _read_hex(path: Path, size: int) -> bytes:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise InputError(f"public key {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"public key {path}: not hexadecimal") from error
    if len(key) != size:
        raise InputError(f"public key {path} has {len(key)} bytes, must be {size}")
    return key


def passphrase(*, confirm: bool) -> Secret:
    """Return the passphrase from the environment, or ask for it (twice to ``confirm``).

    Raises:
        InputError: it is empty, or the two differ.
    """
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None:
        given = getpass.getpass("Passphrase: ")
        if confirm and given != getpass.getpass("Again: "):
            raise InputError("the two passphrases differ")
    if not given:
        raise InputError("the passphrase is empty")
    return Secret(given.encode())
