"""What an ephemeral run may leave: an arm's record without single partners and single assays.

A run whose arms are in memory (:mod:`securefl.files`) goes the same way as any other; at its end this takes out of the record
what is no aggregate. Means, intervals, histograms from secure aggregation, costs and the privacy that was spent stay.
"""

from __future__ import annotations

from securefl.evaluation.subgroups import of_tasks
from securefl.measures import EvaluationRecord
from securefl.records import ArmRecord


def aggregated_only(record: ArmRecord) -> ArmRecord:
    """Return ``record`` without figures of one partner or of a few, distributions over assays, and who withheld or left."""
    return record.model_copy(
        update={
            "performance": record.performance.model_copy(update={"per_partner": {}}),
            "evaluation": None if record.evaluation is None else _without_distributions(record.evaluation),
            "withheld_bits_per_partner": {},
            "departures": tuple(one.model_copy(update={"partner": ""}) for one in record.departures),
        }
    )


def _without_distributions(evaluation: EvaluationRecord) -> EvaluationRecord:
    metrics = tuple(metric.model_copy(update={"ecdf": ()}) for metric in evaluation.metrics)
    return evaluation.model_copy(update={"metrics": metrics, "subgroups": of_tasks(evaluation.subgroups)})
