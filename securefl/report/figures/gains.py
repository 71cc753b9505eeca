"""Where the federation gains over training alone: on compounds unlike the known ones, and on tasks with few data."""

from __future__ import annotations

from collections import Counter

from securefl.measures import IntervalRecord
from securefl.records import ReportRecord
from securefl.report.figures.canvas import Picture, StyleBook
from securefl.report.figures.levels import Level, level_picture
from securefl.report.numbers import decimal, span

GAIN = "difference from standalone (up is better)"


def gain_pictures(report: ReportRecord, book: StyleBook) -> dict[str, Picture]:
    """Return the differences from standalone by similarity to the training set and by the size of the task, where known."""
    similar, small = _by_similarity(report), _by_size(report)
    drawn = {}
    if similar:
        title = "similarity to the nearest training compound"
        drawn["similarity"] = level_picture("similarity", similar, title, GAIN, book)
    if small:
        title = "training values of the task at its owner"
        drawn["few-data"] = level_picture("few-data", small, title, GAIN, book)
    return drawn


def _by_similarity(report: ReportRecord) -> list[Level]:
    found = [(arm.name, bin_) for arm in report.arms if arm.evaluation is not None for bin_ in arm.evaluation.similarity]
    found = [(name, bin_) for name, bin_ in found if bin_.delta is not None]
    cells = Counter[str]()
    for _, bin_ in found:
        cells[bin_.metric] += bin_.n_cells
    # Regression and classification differ in scale: one picture is of the kind that has more results.
    main = cells.most_common(1)[0][0] if cells else ""
    return [
        _gain(name, f"{decimal(b.low, 1)}\u2013{decimal(b.high, 1)}", b.delta)
        for name, b in found
        if b.metric == main and b.delta is not None
    ]


def _by_size(report: ReportRecord) -> list[Level]:
    found = [(arm.name, group) for arm in report.arms if arm.evaluation is not None for group in arm.evaluation.subgroups]
    # The records' first grouping is by the task's own size.
    first = next((group.group for _, group in found), None)
    return [
        _gain(name, span(g.low, g.high).replace(" to ", "\u2013"), g.delta)
        for name, g in found
        if g.group == first and g.delta is not None
    ]


def _gain(arm: str, level: str, delta: IntervalRecord) -> Level:
    return Level(name=level, arm=arm, value=delta.mean, low=delta.low, high=delta.high)
