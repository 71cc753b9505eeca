"""What every scheme must do, whatever its cryptography: checks that run on any scheme by its name, another package's included.

>>> from securefl.secagg.contract import CHECKS, Contender
>>> for check in CHECKS:
...     check(Contender.of("plaintext"))

A check returns nothing or raises. Held, the contract says that sums are right, that the state machines refuse what they must,
and that the scheme keeps what it declares as far as one process can see. It says NOTHING of security: an update that is not in
sight here may still be found by whoever knows how. It takes the place of no proof and of no attack.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from securefl.errors import SecureFLError, VerificationError
from securefl.quantize import Quantizer
from securefl.recipes import traits_of
from securefl.secagg import aggregate, run_round, schemes
from securefl.secagg.base import RoundContext, Scheme, Setup
from securefl.secagg.rounds import RoundResult
from securefl.types import ClientId, FloatVector, SystemRng

CLIENTS = tuple(ClientId(i) for i in range(1, 6))
WEIGHTS = dict(zip(CLIENTS, (3, 1, 7, 2, 5), strict=True))
LENGTH = 301
ROUNDING = 1 + 1e-9
"""Of float64 sums, beside the scheme's own bound."""
SHOWS = 0.7
"""What compresses to less than this share was not hidden; ciphertexts and masked vectors hardly compress at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A scheme as the checks meet it: one run of five clients, whose rounds never repeat a number."""

    name: str
    setup: Setup
    quantizer: Quantizer
    options: object | None = None
    rounds: Iterator[int] = field(default_factory=lambda: count(1), repr=False)

    @classmethod
    def of(cls, name: str, *, options: object | None = None) -> Contender:
        """Return the scheme ``name`` set up with its own ``options``, keys made fresh.

        Raises:
            ParameterError: there is no such scheme.
        """
        traits_of(name)
        quantizer = Quantizer.for_sum(len(CLIENTS), clip=1.0, max_weight=8)
        rng = SystemRng()
        setup = schemes()[name](CLIENTS, quantizer=quantizer, run_id=rng.bytes(32), rng=rng, options=options)
        return cls(name=name, setup=setup, quantizer=quantizer, options=options)

    def scheme(self) -> Scheme:
        """Return the scheme of a new round."""
        setup, number = self.setup, next(self.rounds)
        context = RoundContext(
            run_id=setup.run_id, round=number, roster_hash=setup.roster_hash, model_hash=number.to_bytes(32, "big")
        )
        return setup.round(context)

    def play(
        self, updates: Mapping[ClientId, FloatVector], dropouts: Mapping[ClientId, str | None] | None = None
    ) -> RoundResult:
        """Return what a new round of the run opens for ``updates``."""
        number = next(self.rounds)
        return run_round(
            self.setup, updates, weights=WEIGHTS, round=number, model_hash=number.to_bytes(32, "big"), rng=SystemRng(),
            quantizer=self.quantizer, dropouts=dropouts,
        )  # fmt: skip


def made_updates(length: int = LENGTH) -> dict[ClientId, FloatVector]:
    """Return an update for each client, float64 in -0.9..0.9, shape (length,)."""
    return {me: 0.9 * np.sin((me + 0.5) * np.arange(1, length + 1)) for me in CLIENTS}


def the_sum_is_the_sum_in_clear_within_its_bound(scheme: Contender) -> None:
    """Everybody's weighted sum and weight come out, and the error that the round states is the true one."""
    updates = made_updates()
    result = scheme.play(updates)
    _is_the_sum(result, updates)
    _require(result.survivors == frozenset(CLIENTS), f"survivors={sorted(result.survivors)} must be {sorted(CLIENTS)}")
    _require(result.clipped == 0, f"clipped={result.clipped} must be 0")


def a_vector_of_one_coordinate_is_summed(scheme: Contender) -> None:
    """The shortest vector is one like any other."""
    updates = made_updates(1)
    _is_the_sum(scheme.play(updates), updates)


def clipped_values_are_counted(scheme: Contender) -> None:
    """Values beyond the clip count as clipped, and the error says so."""
    updates = made_updates()
    updates[CLIENTS[0]][:4] = 5.0
    result = scheme.play(updates)
    lost = 4.0 * WEIGHTS[CLIENTS[0]]
    _require(result.clipped == 4, f"clipped={result.clipped} must be 4")
    _require(abs(result.max_abs_error / lost - 1) < 1e-3, f"max_abs_error={result.max_abs_error} must be near {lost}")


def a_dropout_in_any_phase_gives_the_survivors_sum_or_an_abort(scheme: Contender) -> None:
    """Whenever a client goes silent: the sum of those who are said to have survived, or a typed stop, never nonsense."""
    updates = made_updates()
    for phase in scheme.scheme().phases:
        try:
            result = scheme.play(updates, {CLIENTS[1]: phase})
        except SecureFLError:
            continue
        _is_the_sum(result, updates)


def nobody_left_aborts(scheme: Contender) -> None:
    """A round in which every client is silent opens nothing."""
    silent: dict[ClientId, str | None] = dict.fromkeys(CLIENTS, scheme.scheme().phases[0])
    _refused(lambda: scheme.play(made_updates(), silent), "a round without a single message")


def a_message_of_another_round_is_refused(scheme: Contender) -> None:
    """Every client's first message, replayed into the next round."""
    old, new = scheme.scheme(), scheme.scheme()
    replayed = _first_messages(old)
    _refused(lambda: new.server(frozenset(CLIENTS)).next(replayed), "messages of another round")


def a_truncated_message_is_refused(scheme: Contender) -> None:
    """A message that lost its last three bytes."""
    round = scheme.scheme()
    messages = _first_messages(round)
    messages[CLIENTS[0]] = messages[CLIENTS[0]][:-3]
    _refused(lambda: round.server(frozenset(CLIENTS)).next(messages), "a truncated message")


def a_whole_round_runs_by_its_name(scheme: Contender) -> None:
    """``aggregate`` finds the scheme by its name, and its set-up goes by that name too."""
    updates = made_updates(33)
    result = aggregate(scheme.name, updates, rng=SystemRng(), options=scheme.options)
    error, bound = np.abs(result.total - sum(updates.values())).max(), result.quantization_bound * ROUNDING
    _require(error <= bound, f"error={error} must be <= {bound}")
    _require({m.sender for m in result.transcript} >= set(CLIENTS), "every client must send something")
    _require(scheme.setup.name == scheme.name, f"the set-up is named {scheme.setup.name!r}, must be {scheme.name!r}")


def it_keeps_what_it_declares(scheme: Contender) -> None:
    """An exact scheme claims no error of its own; one with a key to open has parties that hold it, and no other has."""
    traits = traits_of(scheme.name)
    result = scheme.play(made_updates())
    own = result.quantization_bound - scheme.quantizer.error_bound(result.weight)
    _require((own == 0) == traits.exact, f"exact={traits.exact}, but its own error is at most {own}")
    holders = len(scheme.scheme().decryptors(rng=SystemRng()))
    _require((holders > 0) == (traits.opener in ("single", "threshold")), f"opener={traits.opener!r}, but {holders} decryptors")


def an_update_is_not_in_sight(scheme: Contender) -> None:
    """Unless uploads are declared open: an update of one value, again and again, looks like noise on the wire."""
    if traits_of(scheme.name).opener == "open":
        return
    for message in scheme.play({me: np.full(LENGTH, 0.5) for me in CLIENTS}).transcript:
        if message.sender in CLIENTS and len(message.data) >= LENGTH:
            share = len(zlib.compress(message.data)) / len(message.data)
            _require(share > SHOWS, f"what client {message.sender} sends in {message.phase!r} compresses to {share:.0%}")


CHECKS: tuple[Callable[[Contender], None], ...] = (
    the_sum_is_the_sum_in_clear_within_its_bound,
    a_vector_of_one_coordinate_is_summed,
    clipped_values_are_counted,
    a_dropout_in_any_phase_gives_the_survivors_sum_or_an_abort,
    nobody_left_aborts,
    a_message_of_another_round_is_refused,
    a_truncated_message_is_refused,
    a_whole_round_runs_by_its_name,
    it_keeps_what_it_declares,
    an_update_is_not_in_sight,
)


def _first_messages(round: Scheme) -> dict[ClientId, bytes]:
    vector = np.arange(9, dtype=np.uint32)
    return {me: round.client(me, vector, rng=SystemRng()).outbound for me in CLIENTS}


def _is_the_sum(result: RoundResult, updates: Mapping[ClientId, FloatVector]) -> None:
    """Require the weighted sum over the survivors, its weight, and an error that is stated as it is."""
    expected = sum(WEIGHTS[me] * updates[me] for me in result.survivors)
    error, bound = float(np.abs(result.total - expected).max()), result.quantization_bound * ROUNDING
    weight = sum(WEIGHTS[me] for me in result.survivors)
    _require(error <= bound, f"error={error} must be <= {bound}, survivors {sorted(result.survivors)}")
    _require(result.weight == weight, f"weight={result.weight} must be {weight}")
    _require(abs(result.max_abs_error - error) <= 1e-6 * error + 1e-12, f"max_abs_error={result.max_abs_error} must be {error}")


def _refused(act: Callable[[], object], what: str) -> None:
    try:
        act()
    except SecureFLError:
        return
    raise VerificationError(f"{what} must be refused with a typed error")


def _require(held: bool | np.bool_, what: str) -> None:
    if not held:
        raise VerificationError(what)
