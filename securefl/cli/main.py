"""``securefl``: the verbs put together, and how the program ends.

Exit codes: 0 done, 1 internal error, 2 wrong input, 3 protocol abort, 4 privacy budget exhausted, 5 verification or gate
refused, 6 audit inconclusive, 130 interrupted. Errors are one line on standard error; ``SECUREFL_TRACEBACK=1`` shows the
whole traceback of an internal one.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

import typer

from securefl.cli.verbs import Verbs
from securefl.errors import SecureFLError

EXIT_CODES = (
    "Exit codes: 0 done, 1 internal, 2 wrong input, 3 protocol abort, 4 budget exhausted, 5 refused, 6 inconclusive, "
    "130 interrupted."
)
INTERRUPTED = 130

app = typer.Typer(
    name="securefl",
    help="Secure aggregation for federated learning: build it, attack it, read what it costs.",
    epilog=EXIT_CODES,
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)


@app.callback()
def securefl() -> None:
    """Put the verbs under one name."""


def one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an internal error in one line; Python itself then ends with 1."""
    if os.environ.get("SECUREFL_TRACEBACK"):
        sys.__excepthook__(kind, error, trace)
        return
    place = trace
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" ({os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno})"
    sys.stderr.write(f"securefl: internal error: {kind.__name__}: {error}{where}; SECUREFL_TRACEBACK=1 shows more\n")


def main() -> None:
    """Run the command line and end with the documented exit code."""
    sys.excepthook = one_line
    try:
        app()
    except SecureFLError as error:
        sys.stderr.write(f"securefl: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)
    except SystemExit as end:
        # Typer turns an interrupt into this code, and says nothing.
        if end.code == INTERRUPTED:
            sys.stderr.write("securefl: interrupted; the same command goes on with what is left\n")
        raise


if __name__ == "__main__":
    main()
