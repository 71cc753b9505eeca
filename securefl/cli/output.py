"""What a verb prints: rows for a person, or JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 160


def emit_json(content: Any) -> None:
    """Print ``content`` as one JSON document."""
    typer.echo(json.dumps(content, indent=1, sort_keys=True))


def emit_table(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows with equal keys as a table, a single row as one line a key; figures are right-aligned."""
    if len(rows) == 1:
        rows = [{"what": key.replace("_", " "), "value": shown(value)} for key, value in rows[0].items()]
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for key in rows[0] if rows else ():
        numeric = isinstance(rows[0][key], (int, float))
        table.add_column(key.replace("_", " "), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for row in rows:
        # A name in a roster or transcript is text, not mark-up.
        table.add_row(*(Text(shown(value)) for value in row.values()))
    console = Console()
    # A pipe or a log has no width: what a program would cut off is worse than a long line.
    (console if console.is_terminal else Console(width=PIPE_WIDTH)).print(table)


def shown(value: object) -> str:
    """Return a cell's text: floats with four significant digits, None as a dash.

    >>> shown(0.123456), shown(None), shown(12)
    ('0.1235', '-', '12')
    """
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
