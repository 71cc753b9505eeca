"""One HTML file from a report: no request leaves it, it can be read without its script, and hostile names stay text.

Every value passes jinja2's autoescape; the only markup that is not escaped again is the pictures' serialised XML. The
Content-Security-Policy names the style sheet and the script by hash and forbids everything else, so that a name that did slip
through would still load and run nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from securefl.records import ReportRecord
from securefl.report import numbers, tables
from securefl.report.appetite import VIEWS, Appetite
from securefl.report.conformance import foreign, single_decryptors, warnings_of
from securefl.report.evidence_tables import (
    deviations_table,
    estimates_table,
    grid_table,
    inputs_table,
    openings_table,
    privacy_table,
    protocols_table,
    question_table,
    sweep_table,
)
from securefl.report.figures.canvas import Picture, StyleBook, standalone
from securefl.report.figures.gallery import gallery
from securefl.report.front import answer, view_lines
from securefl.report.performance_tables import conformal_table, metrics_table, own_table, similarity_table, subgroups_table
from securefl.report.prices import MODEL
from securefl.report.recommendation import RULE
from securefl.report.sections import cleared, heat_map, joined, matrix, options_table
from securefl.report.verdicts import Judged, judge_all, options
from securefl.report.words import words


def _hash(content: str) -> str:
    """Return a source expression for the Content-Security-Policy: the page may use this text and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _sentence(text: str) -> str:
    """Return ``text`` with a capital letter and a full stop."""
    full = text[:1].upper() + text[1:]
    return full if full.endswith((".", "!", "?")) else full + "."


def _breaks(text: str) -> Markup:
    """Return a name that may break after its joints, so that a narrow column doesn't cut it anywhere."""
    return Markup("<wbr>").join(re.split(r"(?<=[-+_/.:])(?=\w)", text))


def environment() -> Environment:
    """Return the templates' environment: everything is escaped, and an unknown name is an error."""
    found = Environment(
        loader=PackageLoader("securefl.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "sentence": _sentence,
        "decimal": numbers.decimal,
        "percent": numbers.percent,
        "count": numbers.count,
        "seconds": numbers.seconds,
        "small": numbers.small,
        "title_of": numbers.title,
        "joined": joined,
        "breaks": _breaks,
        "slug": lambda text: re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-"),
    }
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A page, its pictures as files of their own, and how they stand inside the page."""

    html: str
    figures: Mapping[str, str]
    inline: Mapping[str, Picture]


def palette(theme: str) -> dict[str, str]:
    """Return the style sheet's colours by name for ``light``, ``dark`` or ``print``."""
    style = (files(__package__) / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", blocks[("light", "dark", "print").index(theme)]))


def document(report: ReportRecord, appetite: Appetite) -> Document:
    """Return the report as one HTML document with its pictures.

    Args:
        report: what is shown; its verdicts are shown as they are.
        appetite: the limits that the verdicts were made with.
    """
    judged = judge_all(report.attacks, appetite, report.controls)
    book = StyleBook(flagged=single_decryptors(report.arms))
    drawn = gallery(report, judged, book)
    folder = files(__package__)
    style = (folder / "style.css").read_text(encoding="utf-8") + book.css()
    script = (folder / "page.js").read_text(encoding="utf-8")
    html = (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            words=words(),
            views=VIEWS,
            **_front(report, judged),
            pictures=drawn.pictures,
            missing=drawn.missing,
            tables=_tables(report, judged),
            results=_results(judged),
            style=Markup(style),  # noqa: S704  (the package's own file and the classes of its own drawings)
            script=Markup(script),  # noqa: S704  (the package's own file)
            policy=_policy(style, script),
        )
    )
    colours = palette("print")
    figures = {name: standalone(picture, book, colours) for name, picture in drawn.pictures.items()}
    return Document(html=html, figures=figures, inline=drawn.pictures)


def _front(report: ReportRecord, judged: Sequence[Judged]) -> dict[str, Any]:
    """Return what stands outside of tables and pictures."""
    heat_arms, heat_rows = heat_map(report, judged)
    warnings = {arm.name: warnings_of(arm, report.config) for arm in report.arms}
    return {
        "answer": answer(report),
        "matrix": matrix(report),
        "view_lines": view_lines(report),
        "options": options(report.arms),
        "cleared": cleared(report),
        "heat_arms": heat_arms,
        "heat_rows": heat_rows,
        "warnings": warnings,
        "flagged": single_decryptors(report.arms),
        "brought": [arm.name for arm in report.arms if arm.plugin is not None],
        "foreign": foreign,
        "recommendation_rule": RULE,
        "cost_model": MODEL,
    }


def _results(judged: Sequence[Judged]) -> dict[str, tables.Table]:
    found = {asset: tables.results_table(judged, asset) for asset in words().assets}
    return {asset: table for asset, table in found.items() if table.rows}


def _tables(report: ReportRecord, judged: Sequence[Judged]) -> dict[str, tables.Table]:
    aggregated = [arm for arm in report.arms if arm.scheme is not None]
    return {
        "performance": tables.performance_table(report.arms),
        "cost": tables.cost_table(aggregated),
        "dp": privacy_table(aggregated, report.attacks),
        "controls": tables.controls_table(report.controls),
        "not_run": tables.not_run_table(report.attacks),
        "partners": tables.partners_table(report),
        "config": tables.config_table(report),
        "limits": tables.limits_table(report),
        "options": options_table(report, judged),
        "question": question_table(report, judged),
        "sweep": sweep_table(report),
        "protocols": protocols_table(report),
        "deviations": deviations_table(report),
        "openings": openings_table(report),
        "estimates": estimates_table(report),
        "grid": grid_table(report),
        "similarity": similarity_table(report.arms),
        "subgroups": subgroups_table(report.arms),
        "conformal": conformal_table(report.arms),
        "metrics": metrics_table(report.arms),
        "own": own_table(report),
        "inputs": inputs_table(report),
    }
