"""Progress bars on standard error: one line for what runs now, and a line that stays for each thing that is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from securefl import types


class _Lines:
    """Turns ``progress(what, done, total)`` calls into one live bar, and prints what came before it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._what = ""
        self._task: TaskID | None = None

    def advance(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.finish()
            self._what, self._task = what, self._bar.add_task(what, total=max(total, 1))
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=max(total, 1))

    def finish(self) -> None:
        """Leave a line for the work that ends here."""
        if self._task is None:
            return
        seconds = self._bar.tasks[-1].elapsed or 0.0
        self._bar.console.print(f"[green]✓[/] {self._what} [dim]{seconds:.1f} s[/]", highlight=False)
        self._bar.remove_task(self._task)
        self._task = None


@contextmanager
def progress_bar() -> Iterator[types.Progress]:
    """Yield a progress callback that draws a bar for what it hears last; what is done stays as a line with its seconds."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        refresh_per_second=4,
    )
    lines = _Lines(bar)
    with bar:
        yield lines.advance
        lines.finish()
