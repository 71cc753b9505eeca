"""Every script in ``scripts/``: a command, what it prints, what it says on standard error, and its exit code.

``$ command`` runs in a temporary folder; ``> line`` and ``2> line`` are lines (``*`` matches anything) that must be printed in
that order; ``exit N`` ends the block (0 if left out). ``write NAME: content`` makes a file first. ``!2> text`` must not occur.
"""

from __future__ import annotations

import fnmatch
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from securefl.cli.main import main

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@dataclass
class Step:
    """One command of a script and what must come of it."""

    command: str
    files: dict[str, str]
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    code: int = 0


def parse(text: str) -> list[Step]:
    """Read a script."""
    steps: list[Step] = []
    files: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("write "):
            name, content = line[6:].split(": ", 1)
            files[name] = content.encode().decode("unicode_escape")
        elif line.startswith("$ "):
            steps.append(Step(line[2:], files))
            files = {}
        elif line.startswith("2> "):
            steps[-1].stderr.append(line[3:])
        elif line.startswith("!2> "):
            steps[-1].never.append(line[4:])
        elif line.startswith("> "):
            steps[-1].stdout.append(line[2:])
        elif line.startswith("exit "):
            steps[-1].code = int(line[5:])
        else:
            assert not line.strip() or line.startswith("#"), line
    return steps


def missing_lines(patterns: list[str], text: str) -> list[str]:
    """The patterns that no line matches, in order."""
    lines = iter(text.splitlines())
    return [p for p in patterns if not any(fnmatch.fnmatchcase(line.strip(), p) for line in lines)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    for step in parse(script.read_text(encoding="utf-8")):
        for name, content in step.files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", shlex.split(step.command))
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        try:
            main()
            code: object = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        where = f"{script.name}: $ {step.command}\n{out}\n{err}"
        assert code == step.code, where
        assert missing_lines(step.stdout, out) == [], where
        assert missing_lines(step.stderr, err) == [], where
        assert not [text for text in step.never if text in err], where


def test_the_runner_notices_a_missing_line() -> None:
    assert missing_lines(["a*", "c"], "abc\nb") == ["c"]
