"""Who may read what: the consortium's edition has aggregates alone, a partner's adds its own, the auditor's has everything.

What is private is a list of fields, and :func:`redacted` takes them out of the record *before* anything is drawn from it:
what a page, a picture, a PDF or a crate doesn't know, it can't show. A test walks every record class and fails on a field that
nobody has decided about.

Of private data no edition but the auditor's is made, unless the partners have written that nothing is guaranteed: metrics and
attacks are computed from the data in clear, and no epsilon prices them.

Not hidden: partners' names (everybody on the roster knows them), hashes of private files, and whatever somebody writes into a
free text (a note, a reason) of a record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from securefl.errors import InputError
from securefl.evaluation.subgroups import of_tasks
from securefl.evidence import EditionRecord
from securefl.measures import EvaluationRecord, LedgerLineRecord, MetricRecord, SubgroupRecord
from securefl.record_base import Record
from securefl.records import ArmRecord, AttackRecord, DpRecord, PartnerRecord, PerformanceRecord, ReportRecord

RecordT = TypeVar("RecordT", bound=Record)
Rule = Callable[[Any, EditionRecord], Any]

CONSORTIUM = EditionRecord()
AUDITOR = EditionRecord(kind="auditor")


def edition_of(kind: str, partner: str | None, partners: tuple[str, ...]) -> EditionRecord:
    """Return the edition that a person asked for.

    Raises:
        InputError: there is no such kind or partner, or a partner's edition names none.
    """
    if kind not in ("consortium", "partner", "auditor"):
        raise InputError(f"edition {kind!r} is unknown, must be consortium, partner or auditor")
    if (kind == "partner") != (partner is not None):
        raise InputError(f"edition {kind!r}: a partner is named for the partner's edition, and for that alone")
    if partner is not None and partner not in partners:
        raise InputError(f"partner {partner!r} is unknown, must be one of {', '.join(partners)}")
    return EditionRecord.model_validate({"kind": kind, "partner": partner or ""})


def stem(edition: EditionRecord, partners: tuple[str, ...]) -> str:
    """Return how an edition's files begin; a partner is named by its number, so that a file name tells no name.

    >>> stem(EditionRecord(kind="partner", partner="b"), ("a", "b"))
    'report-partner-2'
    """
    if edition.kind == "partner":
        return f"report-partner-{partners.index(edition.partner) + 1}"
    return "report" if edition.kind == "consortium" else "report-auditor"


def is_stem(name: str) -> bool:
    """Return whether ``name`` is how an edition's files begin.

    >>> [name for name in ("report", "report-auditor", "report-partner-2", "report-2") if is_stem(name)]
    ['report', 'report-auditor', 'report-partner-2']
    """
    return re.fullmatch(r"report(-auditor|-partner-[1-9][0-9]*)?", name) is not None


def _own_key(value: Mapping[str, Any], edition: EditionRecord) -> dict[str, Any]:
    return {name: shown for name, shown in value.items() if name == edition.partner}


def _own_name(value: str, edition: EditionRecord) -> str:
    return value if value == edition.partner else ""


def _aggregates(value: Mapping[str, Any], _: EditionRecord) -> dict[str, Any]:
    return {name: shown for name, shown in value.items() if "partner" not in name}


def _of_tasks(value: tuple[SubgroupRecord, ...], _: EditionRecord) -> tuple[SubgroupRecord, ...]:
    return of_tasks(value)


def _nothing(value: tuple[Any, ...], _: EditionRecord) -> tuple[Any, ...]:
    return ()


PRIVATE: Mapping[tuple[type[Record], str], Rule] = {
    (PerformanceRecord, "per_partner"): _own_key,
    (ArmRecord, "withheld_bits_per_partner"): _own_key,
    (DpRecord, "partner"): _own_name,
    (AttackRecord, "detail"): _aggregates,
    (MetricRecord, "ecdf"): _nothing,
    (EvaluationRecord, "subgroups"): _of_tasks,
    (LedgerLineRecord, "cohort"): _nothing,
}
"""Fields that hold something of one partner or one task, and what is left of them outside of the auditor's edition."""
SIZES = ("compounds", "tasks", "activities")
"""A partner's own figures: the protocol hides them, as weights inside the sum, so the consortium's edition does too."""


def redacted(report: ReportRecord, edition: EditionRecord) -> ReportRecord:
    """Return what ``edition`` may know of a report that knows everything.

    Raises:
        InputError: it may know nothing, because the data are private and what the report says of them has no price.
    """
    if edition.kind == "auditor":
        return report.model_copy(update={"edition": edition})
    private, total = report.config["data"]["private"], report.config["dp"]["total_epsilon"]
    # An infinite total is the partners' word that nothing is guaranteed.
    if private and total != "inf":
        raise InputError(
            f"edition {edition.kind!r}: the data are private, and no epsilon of dp.total_epsilon={total} prices metrics and "
            "attacks: build the auditor's edition, which stays with the auditor"
        )
    return _walk(report, edition).model_copy(update={"edition": edition})


def _walk(record: RecordT, edition: EditionRecord) -> RecordT:
    if isinstance(record, PartnerRecord) and record.name != edition.partner:
        return record.model_copy(update=dict.fromkeys(SIZES))
    changed = {}
    for name in type(record).model_fields:
        rule = PRIVATE.get((type(record), name))
        value = getattr(record, name)
        changed[name] = rule(value, edition) if rule else _inside(value, edition)
    return record.model_copy(update=changed)


def _inside(value: Any, edition: EditionRecord) -> Any:
    if isinstance(value, Record):
        return _walk(value, edition)
    return tuple(_inside(item, edition) for item in value) if isinstance(value, tuple) else value
