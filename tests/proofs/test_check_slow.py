"""The gates of proofs/check.py: they refuse what they should, and the slow checks (coqchk, large models) pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def check() -> ModuleType:
    """Return proofs/check.py as a module."""
    spec = importlib.util.spec_from_file_location("proofs_check", ROOT / "proofs" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("content", ["Axiom a : False.", "Lemma x : True. Admitted.", "admit. Qed.", "Parameter p : nat."])
def test_gate_refuses_what_is_not_proven(check: ModuleType, tmp_path: Path, content: str) -> None:
    (tmp_path / "Bad.v").write_text(content)
    vars(check)["COQ"] = tmp_path
    with pytest.raises(check.CheckError, match=r"Bad\.v"):
        check.check_nothing_admitted()


def test_gate_reads_past_comments(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "Good.v").write_text("(* no Axiom here, nothing Admitted *) Lemma x : True. Proof. exact I. Qed.")
    vars(check)["COQ"] = tmp_path
    assert "nothing" in check.check_nothing_admitted()


def test_golden_files_catch_a_changed_statement(check: ModuleType, tmp_path: Path) -> None:
    vars(check)["BUILD"] = tmp_path
    committed = tmp_path / "committed.txt"
    committed.write_text("forall x, x <= 2 * x\n")
    check.golden(committed, "forall x, x <= 2 * x\n", accept=False)
    with pytest.raises(check.CheckError, match="differs"):
        check.golden(committed, "forall x, x <= 3 * x\n", accept=False)


def test_committed_assumptions_are_none(check: ModuleType) -> None:
    assert check.ASSUMPTIONS.read_text().strip() == check.CLOSED


def needs_tools(check: ModuleType) -> None:
    if check.missing_tools():
        pytest.skip(f"not installed: {', '.join(check.missing_tools())} (make proofs)")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 111 CPU seconds, measured on a busy machine; waiting for a core comes on top
def test_kernel_rechecks_everything(check: ModuleType) -> None:
    needs_tools(check)
    check.check_compiles()
    assert "no axioms" in check.check_kernel()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 94 and 37 CPU seconds, in parallel
def test_large_models_give_their_verdicts(check: ModuleType) -> None:
    needs_tools(check)
    assert "verdicts" in check.check_models(slow=True)


@pytest.mark.slow
def test_a_wrong_verdict_is_noticed(check: ModuleType) -> None:
    """Without the rule `answer once`, the model is broken: the checker says so, it does not only ever say holds."""
    needs_tools(check)
    assert check.spin_verdict("-DN=4 -DT=3 -DC=0") == "broken"
    assert check.maude_verdicts()["start(true, true)"] == "holds"
