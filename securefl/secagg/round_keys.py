"""Keys that live a round (or a stated number of rounds), announced under their decryptor's signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from securefl.crypto.domain import Usage, tag
from securefl.crypto.signature import verify_signature
from securefl.errors import AbortReason, DecodeError, ParameterError, ProtocolAbort
from securefl.secagg.base import RoundContext
from securefl.secagg.codec import u32
from securefl.secagg.committed import SumOpener
from securefl.secagg.committed_setup import Consortium
from securefl.types import ClientId


class KeyedOpener(SumOpener, Protocol):
    """A single decryptor under one key."""

    def encode_key(self) -> bytes:
        """Return the public key as bytes."""
        ...


O_co = TypeVar("O_co", bound=KeyedOpener)


class RoundKeys(Generic[O_co]):
    """The single decryptor's keys over a run: a fresh one when the last has served ``rounds_each`` rounds."""

    __slots__ = ("_consortium", "_current", "_make", "_rounds_each", "_served")

    def __init__(self, consortium: Consortium, make: Callable[[], O_co], *, rounds_each: int = 1) -> None:
        self._consortium, self._make, self._rounds_each = consortium, make, rounds_each
        self._current = make()
        self._served: set[int] = set()

    @property
    def decryptor(self) -> ClientId:
        """The single decryptor's number."""
        (decryptor,) = self._consortium.decryptors
        return decryptor

    def opener(self, round: int) -> O_co:
        """Return the decryptor under the key of ``round``."""
        if round not in self._served and len(self._served) >= self._rounds_each:
            self._current, self._served = self._make(), set()
        self._served.add(round)
        return self._current

    def announced(self, opener: O_co, context: RoundContext) -> bytes:
        """Return the key that the decryptor announces for a round, its signature verified as every client does it.

        Raises:
            VerificationError: the signature is not the roster's decryptor's.
        """
        content = opener.encode_key()
        fields = (b"round key", context.run_id, u32(context.round), context.roster_hash, content)
        bound = tag(self._consortium.wire_id, Usage.ENVELOPE, *fields)
        signer = self._consortium.parties[self.decryptor].signer
        verify_signature(signer.verify_key, bound, signer.sign(bound))
        return content

    @contextmanager
    def reading(self, context: RoundContext) -> Iterator[None]:
        """Turn what is wrong with an announced key, found inside the block, into an abort that names the decryptor."""
        try:
            yield
        except (DecodeError, ParameterError) as error:
            raise ProtocolAbort(AbortReason.BAD_KEY, round=context.round, party=self.decryptor, detail=str(error)) from error
