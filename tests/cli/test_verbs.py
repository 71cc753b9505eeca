"""The verbs: each is found, misspelt ones are suggested, and what needs no training imports none."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from securefl.cli import doctor
from securefl.cli.main import app, main
from securefl.cli.verbs import VERBS

HEAVY = ("torch", "opacus", "matplotlib", "rdkit")
LIGHT = ("keys", "roster", "transcript", "gate", "doctor")
"""What a partner, an auditor or a script calls most; it took nine CPU seconds to say ``--help``."""
PROBE = """
import sys
from typer.testing import CliRunner
from securefl.cli.main import app
for verb in sys.argv[1].split():
    result = CliRunner().invoke(app, [verb] if verb == "--help" else [verb, "--help"])
    assert result.exit_code == 0, result.output
print(*(name for name in sys.argv[2].split() if name in sys.modules))
"""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_one_module(verb: str) -> None:
    assert find_spec(f"securefl.cli.{verb}") is not None
    assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0


def probed(verbs: str) -> list[str]:
    """Return which heavy libraries a fresh process has after the help of some verbs."""
    command = [sys.executable, "-c", PROBE, verbs, " ".join(HEAVY)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_help_and_the_verbs_of_keys_and_audits_import_no_training() -> None:
    assert probed(" ".join(["--help", *LIGHT])) == []
    assert "torch" in probed("run"), "the probe would not see it"


def test_a_misspelt_verb_is_suggested() -> None:
    result = CliRunner().invoke(app, ["repotr"])
    assert result.exit_code == 2
    assert "Did you mean 'report'" in " ".join(result.output.replace("│", " ").split())


def test_an_interrupt_says_that_the_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typer ends with 130 by itself and says nothing: whoever pressed Ctrl-C was left with an empty line."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "doctor", interrupted)
    monkeypatch.setattr(sys, "argv", ["securefl", "doctor"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "securefl: interrupted; the same command goes on with what is left\n"


def test_doctor_knows_every_extra() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(doctor.EXTRAS) == set(project["optional-dependencies"])
