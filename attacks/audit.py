"""Every attack on one arm of a run, with the controls that they rest on: ``RUN/attacks/ARM.json``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

from attacks.conformance import conformance_of
from attacks.controls import exposed_control
from attacks.course.views import attack_course
from attacks.effort import DEFAULT, Effort
from attacks.epsilon.canary_run import audit_canaries, canary_controls
from attacks.first_layer.on_views import RECOVERY
from attacks.isolation.pool import Pool
from attacks.jobs import Desk
from attacks.membership.surrogate_views import attack_surrogate
from attacks.membership.views import attack_membership
from attacks.parties.quality_views import attack_quality
from attacks.registry import NAMES
from attacks.target import Target
from attacks.updates import attack_as_run, attack_exposed
from securefl.chem.dataset import Dataset
from securefl.config import RunConfig
from securefl.errors import InputError
from securefl.records import (
    ArmRecord,
    AttackRecord,
    AuditRecord,
    ConformanceRecord,
    ControlRecord,
    View,
    read_record,
    write_record,
)
from securefl.types import Progress, Rng, silent

UNPROTECTED = "plaintext"
"""The arm on whose exposed release every first-layer attack must succeed."""
CONFORMANCE = "protocol_conformance"
"""The name under which ``only`` asks for the deviations from the protocol alone."""


def audit(
    run: Path,
    dataset: Dataset,
    *,
    config: RunConfig,
    arm: str,
    rng: Rng,
    progress: Progress = silent,
    only: str | None = None,
    view: str | None = None,
    pool: Pool | None = None,
    effort: Effort = DEFAULT,
) -> AuditRecord:
    """Return what every attack gets on ``arm``, and write it to ``RUN/attacks/ARM.json`` unless the attacks are narrowed.

    Args:
        run: the run's folder; the arm must be finished. Shadow models are cached in ``RUN/shadows``.
        dataset: what the run was trained on. config: the run's.
        rng: keys, masks and privacy noise of the exposed releases, and the operator's unknown bit order.
        only: run this attack alone (or the deviations from the protocol, :data:`CONFORMANCE`). view: only from this view.
        pool: the processes that attacks run in; a pool of its own where it is ``None``. effort: what the audit may spend.

    Raises:
        InputError: the arm is not finished or a file of it can't be read; no attack or view of that name.
        ProtocolAbort: the arm's protocol stopped on the exposed release.
        AttackFailedError: an attack's process ended without claims.
    """
    if only is not None and only not in (*NAMES, CONFORMANCE):
        raise InputError(f"attack {only!r} is unknown, must be one of {', '.join((*NAMES, CONFORMANCE))}")
    if view is not None and view not in get_args(View):
        raise InputError(f"view {view!r} is unknown, must be one of {', '.join(get_args(View))}")

    def wanted(name: str, seen_from: View) -> bool:
        return only in (None, name) and view in (None, seen_from)

    target = Target(
        run=run,
        dataset=dataset,
        config=config,
        record=read_record(ArmRecord, run / "arms" / arm / "record.json"),
        rng=rng,
        progress=lambda what, done, total: progress(f"attacks on {arm}: {what}", done, total),
        effort=effort,
    )
    with nullcontext(pool) if pool is not None else Pool() as processes:
        desk = Desk(processes, wanted, progress=target.progress)
        controls = attack_membership(target, desk)
        attack_surrogate(target, desk)
        attack_as_run(target, desk)
        attack_quality(target, desk)
        attack_exposed(target, desk)
        attack_course(target, desk)
        audit_canaries(target, desk)
        attacks = desk.records()
    controls += _positive_controls(target, attacks, desk) + canary_controls(target, attacks)
    played = _conformance(target) if only in (None, CONFORMANCE) and view in (None, "V5") else ()
    record = AuditRecord(attacks=tuple(attacks), controls=tuple(controls), conformance=played, budget=effort.budget)
    if only is None and view is None:
        write_record(record, run / "attacks" / f"{arm}.json")
    return record


def _conformance(target: Target) -> tuple[ConformanceRecord, ...]:
    scheme = target.record.scheme
    return conformance_of(target.arm, scheme, rng=target.rng, progress=target.progress) if scheme is not None else ()


def _positive_controls(target: Target, attacks: Sequence[AttackRecord], desk: Desk) -> list[ControlRecord]:
    if target.arm != UNPROTECTED:
        return []
    views = [each for each in RECOVERY.views if desk.wanted(RECOVERY.name, each)]
    return [exposed_control(target.arm, each, attacks) for each in views]
