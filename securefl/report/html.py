"""One HTML file from a report: no request leaves it, it can be read without its script, and hostile names stay text.

Every value passes jinja2's autoescape; the only markup that is not escaped again is the pictures' serialised XML. The
Content-Security-Policy names the style sheet and the script by hash and forbids everything else, so that a name that did slip
through would still load and run nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from securefl.records import ReportRecord
from securefl.report import numbers, tables
from securefl.report.appetite import VIEWS, Appetite
from securefl.report.figures.canvas import StyleBook
from securefl.report.figures.gallery import gallery
from securefl.report.sections import answer, cleared, heat_map, joined, matrix, options_table, passing
from securefl.report.verdicts import judge_all, options
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


def page(report: ReportRecord, appetite: Appetite) -> str:
    """Return the report as one HTML document.

    Args:
        report: what is shown; its verdicts are shown as they are.
        appetite: the limits that the verdicts were made with.
    """
    judged = judge_all(report.attacks, appetite, report.controls)
    book = StyleBook()
    pictures = gallery(report, judged, book)
    folder = files(__package__)
    style = (folder / "style.css").read_text(encoding="utf-8") + book.css()
    script = (folder / "page.js").read_text(encoding="utf-8")
    heat_arms, heat_rows = heat_map(report, judged)
    results = {asset: tables.results_table(judged, asset) for asset in words().assets}
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            words=words(),
            views=VIEWS,
            answer=answer(report),
            matrix=matrix(report),
            passing=passing(report),
            options=options(report.arms),
            cleared=cleared(report),
            heat_arms=heat_arms,
            heat_rows=heat_rows,
            pictures=pictures,
            results={asset: table for asset, table in results.items() if table.rows},
            tables={
                "performance": tables.performance_table(report.arms),
                "cost": tables.cost_table([arm for arm in report.arms if arm.scheme is not None]),
                "dp": tables.dp_table([arm for arm in report.arms if arm.scheme is not None]),
                "controls": tables.controls_table(report.controls),
                "not_run": tables.not_run_table(report.attacks),
                "partners": tables.partners_table(report),
                "config": tables.config_table(report),
                "limits": tables.limits_table(report),
                "options": options_table(report, judged),
            },
            style=Markup(style),  # noqa: S704  (the package's own file and the classes of its own drawings)
            script=Markup(script),  # noqa: S704  (the package's own file)
            policy=_policy(style, script),
        )
    )
