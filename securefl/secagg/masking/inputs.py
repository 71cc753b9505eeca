"""What the clients put in: vectors of the roster's ring, and their masked sum with the masked tags behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from securefl.errors import AbortReason, ParameterError, ProtocolAbort, TooFewClients
from securefl.secagg.base import RoundContext
from securefl.secagg.codec import Reader
from securefl.secagg.envelope import Channel, Envelope
from securefl.secagg.roster import Roster
from securefl.types import ClientId, RingVector

TAG = np.dtype("<u8")


def require_input(context: RoundContext, roster: Roster, update: RingVector) -> None:
    """Check that a round is bound to the roster that was signed, and that the update is a vector of its ring.

    Raises:
        ProtocolAbort: WRONG_ROSTER.
        ParameterError: the update is no such vector.
    """
    if context.roster_hash != roster.hash:
        raise ProtocolAbort(AbortReason.WRONG_ROSTER, round=context.round, detail="not the roster that was signed")
    if update.dtype != roster.quantizer.dtype or update.ndim != 1 or not len(update):
        raise ParameterError(f"update dtype={update.dtype} shape={update.shape} must be a vector of the roster's ring")


def sum_inputs(
    channel: Channel, envelopes: Mapping[ClientId, Envelope], dtype: np.dtype[np.uint32] | np.dtype[np.uint64], *, tags: int = 0
) -> tuple[RingVector, RingVector]:
    """Return the sum of the vectors, shape (d,), and of the ``tags`` behind them.

    The size of most inputs is the right one: an honest client is not blamed because another, listed before it, sent less.

    Raises:
        ProtocolAbort: MALFORMED, naming who sent another size, or nobody where no vector has that size.
        TooFewClients: there is no input.
    """
    sizes = Counter(envelope.payload_size for envelope in envelopes.values())
    if not sizes:
        raise TooFewClients(round=channel.context.round, have=0, need=1)
    size = sizes.most_common(1)[0][0]
    length, odd = divmod(size - tags * TAG.itemsize, dtype.itemsize)
    if odd or length < 1:
        raise channel.abort(AbortReason.MALFORMED, detail=f"inputs of {size} bytes")
    total: RingVector = np.zeros(length, "<u4") if dtype.itemsize == 4 else np.zeros(length, "<u8")
    tag_total = np.zeros(tags, TAG)
    for sender, envelope in envelopes.items():
        if envelope.payload_size != size:
            raise channel.abort(AbortReason.MALFORMED, sender, f"input of {envelope.payload_size} bytes, not {size}")
        reader = Reader(envelope.content)
        np.add(total, reader.vector(length, dtype), out=total)
        tag_total += reader.vector(tags, TAG)
    return total, tag_total
