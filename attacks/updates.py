"""Builds the first-layer views of everything that one arm released: ``as-run`` and ``exposed``, from V3, V2, V2c and V1.

V3 under a secure scheme is what is left when all other partners work together: the sum without theirs is the last one's
update. The attacker in V1 is the partner with the most compounds; in V3 the victim is the smallest; in V2c all but the two
smallest work with the operator: the most that a scheme for sums can be asked to stand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from attacks.course.count_views import put_counts
from attacks.course.differential import COUNTS
from attacks.first_layer.exposed import Bench, Defence, exposed_single, exposed_sum
from attacks.first_layer.flooding_noise import flooding_noise
from attacks.first_layer.on_views import LABELS, RECOVERY, UNION, VIEWS
from attacks.first_layer.partner_grouping import GROUPING
from attacks.first_layer.released import Released, load_as_run
from attacks.first_layer.scramble_key import SCRAMBLE, Order
from attacks.interface import AdversaryView
from attacks.jobs import Desk, Job, not_run
from attacks.molecules.lookup import MOLECULES
from attacks.molecules.views import with_molecules
from attacks.parties.property_inference import PROPERTY
from attacks.parties.property_views import property_job
from attacks.target import Target
from attacks.view import Case, opened_sum, single_update, sum_minus_colluders, sum_minus_own
from securefl.chem.dataset import Dataset, Fold
from securefl.errors import InputError
from securefl.federation.protocols import quantizer_for
from securefl.learning.family import inputs_of
from securefl.records import View

WITHOUT_MOLECULES = (UNION, RECOVERY, LABELS, GROUPING)
ALL = (*WITHOUT_MOLECULES, MOLECULES)
OF_A_ROUND = (SCRAMBLE, PROPERTY, COUNTS)
"""What is read from a whole round as it was run, and from nothing smaller."""
COLLUSION = "the update itself is in sight only if all other partners work together"
WITHOUT_PROTECTION = ("plaintext",)


def _about(target: Target, case: Case) -> Mapping[str, object]:
    return {
        "arm": target.arm,
        "release": case.released.name,
        "coordinates": case.view.coordinates,
        "bits": case.view.delta.shape[0],
        "compounds": case.compounds,
        "optimiser": case.released.optimiser,
    }


def _job(target: Target, case: Case) -> Job:
    protected = case.view.view == "V3" and target.record.scheme not in WITHOUT_PROTECTION
    view = case.view.pack(seconds=target.config.attacks.seconds_per_recovery * target.effort.longer)
    # Atoms of a graph network are no fingerprint; a whole round of thousands of compounds gives none away.
    readable = case.released.name == "exposed" and target.dataset.graphs is None and view.view in MOLECULES.views
    view, truth = with_molecules(target, view, case.truth, rows=case.released.bits) if readable else (view, case.truth)
    return Job(
        view=view,
        attacks=tuple(attack for attack in (ALL if readable else WITHOUT_MOLECULES) if view.view in attack.views),
        truth=truth,
        about=_about(target, case),
        notes=(case.released.note, COLLUSION if protected else ""),
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


def _scramble(target: Target) -> np.random.Generator:
    """Return a fresh order's generator: its key comes from the secure source and is forgotten, so no attack can have it."""
    return np.random.default_rng(int.from_bytes(target.rng.bytes(16), "little"))


def _any(desk: Desk, view: View) -> bool:
    return any(desk.wanted(attack.name, view) for attack in ALL)


def _put_sum(target: Target, desk: Desk, released: Released) -> None:
    """Put the views that look at an opened sum on the desk."""
    order = _by_size(released)
    if _any(desk, "V2"):
        desk.put(_job(target, opened_sum(released, scramble=_scramble(target))))
    if _any(desk, "V2c") and len(order) > 2:
        desk.put(_job(target, sum_minus_colluders(released, order[2:])))
    if _any(desk, "V1"):
        desk.put(_job(target, sum_minus_own(released, order[-1])))


def _put_scrambled(target: Target, desk: Desk, dataset: Dataset, released: Released) -> None:
    """Put the opened sum in a secret order on the desk, beside how often each bit occurs in public compounds."""
    if released.total is None or not desk.wanted(SCRAMBLE.name, "V2"):
        return
    order = _scramble(target).permutation(len(released.total))
    public = dataset.fingerprints[dataset.fold != Fold.TRAIN]
    frequency = np.asarray((public > 0).sum(axis=0), dtype=np.float64).ravel()
    about = {
        "arm": target.arm,
        "release": released.name,
        "coordinates": "scrambled",
        "bits": len(order),
        "compounds": len(np.unique(np.concatenate([part.compounds for part in released.parts.values()]))),
        "optimiser": released.optimiser,
    }
    view = AdversaryView(view="V2", tensors={"delta": released.total[order], "frequency": frequency}, facts={})
    desk.put(Job(view=view, attacks=(SCRAMBLE,), truth=Order(order, frequency), about=about))


def _put_properties(target: Target, desk: Desk, dataset: Dataset, released: Released) -> None:
    """Put the chemotypes of one partner (V3) and of all others (V1) on the desk."""
    order = _by_size(released)
    if desk.wanted(PROPERTY.name, "V3"):
        case = single_update(released, order[0])
        desk.put(property_job(case, dataset, order[:1], _about(target, case)))
    if released.total is not None and desk.wanted(PROPERTY.name, "V1"):
        case = sum_minus_own(released, order[-1])
        desk.put(property_job(case, dataset, order[:-1], _about(target, case)))


def attack_as_run(target: Target, desk: Desk) -> None:
    """Put the first round that the arm really sent on the desk.

    Raises:
        InputError: the release can't be read.
    """
    about = {"arm": target.arm, "release": "as-run"}
    if target.record.scheme is None:
        reason = f"{target.arm} sends no update: there is nothing to attack"
        desk.put_records(not_run((*ALL, *OF_A_ROUND), desk.wanted, VIEWS, reason=reason, about=about))
        return
    parties = len(target.dataset.partners)
    quantizer, noisy = quantizer_for(target.config.secagg, parties), target.record.noised
    dataset = inputs_of(target.dataset, target.config.model)
    released = load_as_run(target.run / "arms" / target.arm, dataset, step=quantizer.step, noisy=noisy)
    if released is None:
        reason = "the first layer is frozen in this arm: none of it is released"
        desk.put_records(not_run((*ALL, *OF_A_ROUND), desk.wanted, VIEWS, reason=reason, about=about))
        return
    released = dataclasses.replace(released, note=_silence(released))
    if target.record.scheme == "ckks":
        known = flooding_noise(quantizer, parties, target.record.parameters + 1)
        released = dataclasses.replace(released, sum_noise=known)
    if _any(desk, "V3"):
        desk.put(_job(target, single_update(released, _by_size(released)[0])))
    _put_sum(target, desk, released)
    _put_scrambled(target, desk, dataset, released)
    _put_properties(target, desk, dataset, released)
    put_counts(target, desk, released, attacker=_by_size(released)[-1], scramble=_scramble(target))


def attack_exposed(target: Target, desk: Desk) -> None:
    """Put the exposed releases under the arm's own scheme, guard and privacy on the desk.

    Raises:
        ProtocolAbort: the arm's protocol stopped.
    """
    record = target.record
    if record.scheme is None or not any(_any(desk, view) for view in VIEWS):
        return
    guard = target.config.guard if record.guard is not None else None
    defence = Defence(
        scheme=record.scheme, guard_k=guard.k if guard else None, partners=guard.partners if guard else 1, dp=record.dp
    )
    try:
        bench = Bench.of(target.dataset, config=target.config, defence=defence, rng=target.rng)
        if _any(desk, "V3"):
            target.progress("exposed release of one partner", 0, 1)
            single, partner = exposed_single(bench)
            desk.put(_job(target, single_update(single, partner)))
        if any(_any(desk, view) for view in VIEWS if view != "V3"):
            target.progress("exposed secure sum", 0, 1)
            _put_sum(target, desk, exposed_sum(bench))
    except InputError as error:
        about = {"arm": target.arm, "release": "exposed"}
        desk.put_records(not_run(ALL, desk.wanted, VIEWS, reason=str(error), about=about))
