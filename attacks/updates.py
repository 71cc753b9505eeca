"""The first-layer attacks on everything that one arm released: ``as-run`` and ``exposed``, from V3, V2 and V1.

V3 under a secure scheme is what is left when all other partners work together: the sum without theirs is the last one's
update. The attacker in V1 is the partner with the most compounds; in V3 the victim is the smallest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from attacks.exposed import Bench, Defence, exposed_single, exposed_sum
from attacks.first_layer import Outcome, attack_first_layer
from attacks.membership import Target
from attacks.released import Released, load_as_run
from attacks.view import Case, opened_sum, single_update, sum_minus_own
from securefl.errors import InputError
from securefl.federation.protocols import quantizer_for
from securefl.records import AttackRecord, View

NAMES = ("union_of_bits", "fingerprint_recovery", "label_inference")
ASSETS = {"union_of_bits": "substructure", "fingerprint_recovery": "structure", "label_inference": "label"}
VIEWS: tuple[View, ...] = ("V3", "V2", "V1")
COLLUSION = "the update itself is in sight only if all other partners work together"
WITHOUT_PROTECTION = ("plaintext",)
APPROXIMATE = ("ckks",)
Wanted = Callable[[str, View], bool]


def _not_run(target: Target, wanted: Wanted, release: str, views: tuple[View, ...], reason: str) -> list[AttackRecord]:
    return [
        AttackRecord.model_validate(
            {
                "name": name,
                "view": view,
                "arm": target.arm,
                "release": release,
                "status": "not_run",
                "reason": reason,
                "asset": ASSETS[name],
            }
        )
        for view in views
        for name in NAMES
        if wanted(name, view)
    ]


def _records(target: Target, case: Case, outcome: Outcome) -> Iterator[AttackRecord]:
    released, view = case.released, case.view
    notes = [released.note, outcome.note]
    if view.view == "V3" and target.record.scheme not in WITHOUT_PROTECTION:
        notes.append(COLLUSION)
    about: dict[str, object] = {
        "name": outcome.attack,
        "view": view.view,
        "arm": target.arm,
        "release": released.name,
        "asset": ASSETS[outcome.attack],
        "coordinates": view.coordinates,
        "reason": "; ".join(note for note in notes if note),
        "bits": view.delta.shape[0],
        "compounds": case.compounds,
        "optimiser": released.optimiser,
        "seconds": outcome.seconds,
        "detail": outcome.detail,
    }
    if not outcome.scores:
        yield AttackRecord.model_validate({**about, "status": "not_run"})
    for score in outcome.scores:
        yield AttackRecord.model_validate(
            {
                **about,
                "status": "run",
                "metric": score.metric,
                "value": score.value,
                "k": score.k,
                "n": score.n,
                "ci_low": score.low,
                "ci_high": score.high,
                "chance": score.chance,
            }
        )


def _by_size(released: Released) -> list[int]:
    """Return the partners of a release, the one with the fewest compounds first.

    A partner whose update is zero (a first step under fresh heads, which are zero) sent nothing and stands aside if it can.
    """

    def key(partner: int) -> tuple[bool, int, int]:
        update = released.parts[partner].update
        return update is None or not update.any(), len(released.parts[partner].compounds), partner

    order = sorted(released.parts, key=key)
    sent = [partner for partner in order if not key(partner)[0]]
    return sent or order


def _silence(released: Released) -> str:
    """Return what the record says of partners whose update is zero."""
    silent = len(released.parts) - len([p for p in released.parts.values() if p.update is not None and p.update.any()])
    return f"{silent} partner's update is zero in this round: the smallest of the others is attacked" if silent else ""


def _attacked(target: Target, wanted: Wanted, cases: Iterator[Case]) -> list[AttackRecord]:
    records: list[AttackRecord] = []
    for case in cases:
        view = case.view.view
        label = f"{case.released.name} release, view {view}"
        outcomes = attack_first_layer(
            case,
            wanted=lambda name, view=view: wanted(name, view),  # type: ignore[misc]
            seconds=target.config.attacks.seconds_per_recovery,
            progress=lambda what, done, total, label=label: target.progress(f"{label}: {what}", done, total),  # type: ignore[misc]
        )
        for outcome in outcomes:
            records += _records(target, case, outcome)
    return records


def _scramble(target: Target) -> np.random.Generator:
    """Return a fresh order's generator: its key comes from the secure source and is forgotten, so no attack can have it."""
    return np.random.default_rng(int.from_bytes(target.rng.bytes(16), "little"))


def attack_as_run(target: Target, *, wanted: Wanted) -> list[AttackRecord]:
    """Return what the attacks get on the first round that the arm really sent.

    Raises:
        InputError: the release can't be read.
    """
    if target.record.scheme is None:
        return _not_run(target, wanted, "as-run", VIEWS, f"{target.arm} sends no update: there is nothing to attack")
    step = quantizer_for(target.config.secagg, len(target.dataset.partners)).step
    noisy = target.record.dp is not None or target.record.scheme in APPROXIMATE
    released = load_as_run(target.run / "arms" / target.arm, target.dataset, step=step, noisy=noisy)
    if released is None:
        return _not_run(target, wanted, "as-run", VIEWS, "the first layer is frozen in this arm: none of it is released")
    order = _by_size(released)
    released = dataclasses.replace(released, note=_silence(released))

    def cases() -> Iterator[Case]:
        if _any(wanted, "V3"):
            yield single_update(released, order[0])
        if _any(wanted, "V2"):
            yield opened_sum(released, scramble=_scramble(target))
        if _any(wanted, "V1"):
            yield sum_minus_own(released, order[-1])

    return _attacked(target, wanted, cases())


def attack_exposed(target: Target, *, wanted: Wanted) -> list[AttackRecord]:
    """Return what the attacks get on the exposed releases under the arm's own scheme, guard and privacy.

    Raises:
        ProtocolAbort: the arm's protocol stopped.
    """
    record = target.record
    if record.scheme is None:
        return []
    guard_k = target.config.guard.k if record.guard is not None else None
    defence = Defence(scheme=record.scheme, guard_k=guard_k, dp=record.dp)
    bench = Bench.of(target.dataset, config=target.config, defence=defence, rng=target.rng)

    def cases() -> Iterator[Case]:
        if _any(wanted, "V3"):
            target.progress("exposed release of one partner", 0, 1)
            single, partner = exposed_single(bench)
            yield single_update(single, partner)
        if _any(wanted, "V2") or _any(wanted, "V1"):
            target.progress("exposed secure sum", 0, 1)
            summed = exposed_sum(bench)
            if _any(wanted, "V2"):
                yield opened_sum(summed, scramble=_scramble(target))
            if _any(wanted, "V1"):
                yield sum_minus_own(summed, _by_size(summed)[-1])

    try:
        return _attacked(target, wanted, cases())
    except InputError as error:
        return _not_run(target, wanted, "exposed", VIEWS, str(error))


def _any(wanted: Wanted, view: View) -> bool:
    return any(wanted(name, view) for name in NAMES)
