"""A scheme in a package of its own, README's own example: found, held to the contract, trained with, attacked, and reported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stand_ins import CountingRng, Install
from typer.testing import CliRunner

from attacks.conformance import conformance_of
from securefl.chem.dataset import Dataset
from securefl.cli.main import app
from securefl.config import parse_config
from securefl.errors import ParameterError
from securefl.evaluation.run import run
from securefl.evidence import PluginRecord
from securefl.plugins import plugins
from securefl.recipes import Traits, recipe_of, scheme_names, traits_of
from securefl.records import ArmRecord, read_record
from securefl.secagg import aggregate, schemes
from securefl.secagg.contract import CHECKS, CLIENTS, Contender, made_updates
from securefl.secagg.replay import verify_transcript
from securefl.types import SystemRng

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
SCHEME, CONTRACT = (
    next(code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if code.startswith(f"# {name}"))
    for name in ("ring_sum.py", "test_ring.py")
)
(ENTRY,) = re.findall(r'^\[project\.entry-points\."securefl\.schemes"\]\n(.*?)\n```', README, re.MULTILINE | re.DOTALL)
ROUGH = """
from securefl.recipes import Traits
from securefl.secagg import plaintext
@Traits(exact={exact}, opener="{opener}", homomorphic={homomorphic})
def set_up(clients, **terms):
    return plaintext.set_up(clients, **terms)
"""

@pytest.fixture
def ring(install_package: Install) -> Path:
    """Return where README's scheme is installed."""
    return install_package("ring-sum", SCHEME, ENTRY.replace('"', ""))


def test_without_a_package_there_are_securefls_own_alone() -> None:
    assert plugins() == ()
    with pytest.raises(ValueError, match="arm 'ring' is unknown"):
        recipe_of("ring")


def test_a_package_is_found_by_its_entry_point_and_imported_when_it_is_asked_for(ring: Path) -> None:
    assert "ring" in scheme_names()
    assert "ring" in schemes()
    assert recipe_of("masking+guard") is not None
    assert "ring_sum" not in sys.modules
    assert traits_of("ring") == Traits(exact=True, opener="none")
    assert "ring_sum" in sys.modules


@pytest.mark.contract
@pytest.mark.parametrize("check", CHECKS)
def test_readmes_scheme_keeps_the_contract(ring: Path, check: Callable[[Contender], None]) -> None:
    check(Contender.of("ring"))


@pytest.mark.contract
def test_the_contract_is_a_test_of_hers_as_readme_shows_it(ring: Path, tmp_path: Path) -> None:
    """In a folder of her own, with nothing of this checkout's tests; a scheme that sends plain vectors does not hold it."""
    folder = tmp_path / "hers"
    folder.mkdir()
    (folder / "test_ring.py").write_text(CONTRACT, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "test_ring.py"]
    environment = {"PYTHONPATH": str(ring), "PATH": ""}
    held = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert f"{len(CHECKS)} passed" in held.stdout, held.stdout + held.stderr
    weak = SCHEME.replace("apply_masks(masked :=", "apply_masks(").replace("masked, rng", "update, rng")
    assert weak != SCHEME
    (ring / "ring_sum.py").write_text(weak, encoding="utf-8")
    broken = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert "an_update_is_not_in_sight" in broken.stdout
    assert "1 failed" in broken.stdout


def test_its_single_updates_are_hidden_and_a_dropout_stops_it(ring: Path) -> None:
    sent = {}
    for scheme in ("ring", "plaintext"):
        result = aggregate(scheme, {me: np.full(500, 0.1 * me) for me in CLIENTS}, rng=SystemRng())
        assert result.max_abs_error <= result.quantization_bound
        sent[scheme] = len(np.unique(np.frombuffer(result.transcript[0].data[-2000:], "<u4")))
    assert sent["plaintext"] <= 2
    assert sent["ring"] > 490


def test_aggregate_runs_it_from_the_command_line(ring: Path) -> None:
    done = CliRunner().invoke(app, ["aggregate", "--scheme", "ring", "--clients", "4", "--dim", "50", "--json"])
    assert done.exit_code == 0, done.output
    assert '"survivors": 4' in done.output


@pytest.mark.parametrize(
    ("exact", "opener", "arm", "refused"),
    [
        (True, "none", "rough+partner-dp=8", None),
        (True, "none", "rough+guard+dp=3", None),
        (False, "none", "rough+partner-dp=8", "needs an exact sum, rough is approximate"),
        (True, "open", "rough+central-dp", "reference on plaintext sums"),
    ],
)
def test_what_it_may_be_combined_with_follows_from_what_it_declares(
    install_package: Install, exact: bool, opener: str, arm: str, refused: str | None
) -> None:
    install_package("rough", ROUGH.format(exact=exact, opener=opener, homomorphic=False), "rough = rough:set_up")
    if refused is None:
        assert recipe_of(arm) is not None
        return
    with pytest.raises(ValueError, match=refused):
        recipe_of(arm)


def test_a_heavy_one_continues_maskings_checkpoint(install_package: Install) -> None:
    install_package("rough", ROUGH.format(exact=True, opener="none", homomorphic=True), "rough = rough:set_up")
    recipe = recipe_of("rough+guard")
    assert recipe is not None
    assert recipe.warm_start == "masking+guard"


@pytest.mark.parametrize(
    ("entry", "name", "told"),
    [
        ("masking = rough:set_up", "masking", "claimed by securefl itself and by package rough 0.3"),
        ("pooled = rough:set_up", "pooled", "of package rough 0.3: a scheme's name must match"),
        ("Ring_1 = rough:set_up", "Ring_1", "of package rough 0.3: a scheme's name must match"),
        ("rough = rough:nothing", "rough", "rough:nothing can't be imported"),
        ("rough = gone:set_up", "rough", "gone:set_up can't be imported"),
        ("rough = rough:plaintext", "rough", "declares no Traits"),
    ],
)
def test_a_package_that_is_no_scheme_is_refused_by_name_and_the_others_go_on(
    install_package: Install, entry: str, name: str, told: str
) -> None:
    install_package("rough", ROUGH.format(exact=True, opener="none", homomorphic=False), entry)
    for ask in (lambda: traits_of(name), lambda: schemes()[name], lambda: aggregate(name, made_updates(9), rng=SystemRng())):
        with pytest.raises(ParameterError, match=told):
            ask()
    assert aggregate("plaintext", made_updates(9), rng=SystemRng()).survivors == frozenset(CLIENTS)


def test_two_packages_with_one_name_are_both_named_and_neither_runs(ring: Path, install_package: Install) -> None:
    code = ROUGH.format(exact=True, opener="open", homomorphic=False)
    install_package("other-ring", code, "ring = other_ring:set_up", version="2.0")
    with pytest.raises(ParameterError, match=r"claimed by package (ring-sum 0.3|other-ring 2.0) and by package") as refused:
        recipe_of("ring+guard")
    assert "ring-sum 0.3" in str(refused.value)
    assert "other-ring 2.0" in str(refused.value)
    assert not {"ring_sum", "other_ring"} & set(sys.modules)


def test_traits_must_be_some_that_there_are() -> None:
    with pytest.raises(ParameterError, match="opener='nobody' must be one of open, none, single, threshold"):
        Traits(exact=True, opener="nobody")  # type: ignore[arg-type]


def test_only_deviations_that_need_an_interface_are_played_against_it(ring: Path) -> None:
    found = {one.name: one.outcome for one in conformance_of("ring", "ring", rng=SystemRng())}
    assert found == {
        "two_partners": "succeeded",  # README's scheme sums two, and each can subtract its own
        "changing_cohorts": "refused",
        "differencing_of_static_counts": "refused",
        "wrap_around": "refused",
        "batch_of_one": "refused",
    }


def test_an_arm_is_trained_with_it_and_its_record_names_the_package(ring: Path, tiny_dataset: Dataset, tmp_path: Path) -> None:
    content: dict[str, object] = {
        "arms": ["plaintext", "ring+guard"],
        "data": {"bits": 256, "partners": 3},
        "model": {"hidden": [16, 8]},
        "federation": {"rounds": 2, "batch": 32},
    }
    out = tmp_path / "run"
    run(tiny_dataset, parse_config(content, source="test"), out, rng=CountingRng())
    records = {arm: read_record(ArmRecord, out / "arms" / arm / "record.json") for arm in ("plaintext", "ring+guard")}
    assert records["plaintext"].plugin is None
    ringed = records["ring+guard"]
    assert ringed.plugin == PluginRecord(package="ring-sum", version="0.3", exact=True, opener="none")
    assert ringed.scheme == "ring"
    assert ringed.max_abs_aggregate_error is not None
    assert ringed.quantization_bound is not None
    assert ringed.max_abs_aggregate_error <= ringed.quantization_bound
    shown = verify_transcript(out / "arms" / "ring+guard" / "seed-0" / "transcript.jsonl")
    assert (shown.wire_id, shown.signed, shown.violations) == ("ring", False, ())
