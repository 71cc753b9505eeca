"""An attack's process holds one view: it can't open the run, reach the network, see the environment, or leave anything."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from session_processes import awaited, of_session

from attacks.interface import AdversaryView, Attack
from attacks.isolation.pool import AttackFailedError, Pool
from attacks.isolation.view_file import read_view, write_view
from attacks.jobs import Job
from attacks.registry import ATTACKS, NAMES
from securefl.errors import InputError, ParameterError
from securefl.records import View

MODULE = "isolation_probes"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A pool whose attacks try to reach more than their view (tests/attacks/isolation_probes.py)."""
    with Pool(processes=1, program=Path(__file__).with_name("isolation_probes.py")) as found:
        yield found


def view(**facts: str | int) -> AdversaryView:
    """A view with one tensor that may be read, and one that may not."""
    tensors = {"open": np.arange(3.0), "truth": np.ones(4)}
    return AdversaryView(view="V1", tensors=tensors, facts=dict(facts))


def probe(name: str) -> Attack[object]:
    """A stand-in here for the probe of that name there: only name and reads are sent."""
    from isolation_probes import PROBES

    return next(attack for attack in PROBES if attack.name == name)


def ask(pool: Pool, name: str, **facts: str | int) -> dict[str, np.ndarray]:
    """The claims of a probe."""
    return dict(pool.submit(view(**facts), [probe(name)]).result().claims[name])


def test_an_attack_gets_the_tensors_that_it_reads(pool: Pool) -> None:
    """Its claims come back; the tensor that it doesn't read is not in its file either."""
    assert ask(pool, "reads")["seen"].tolist() == [0.0, 1.0, 2.0]
    assert ask(pool, "lists_tensors")["count"].tolist() == [1]


@pytest.mark.parametrize("how", ["opens", "opens_low", "opens_numpy", "lists", "writes", "removes", "links"])
def test_other_files_of_the_run_are_out_of_reach(pool: Pool, tmp_path: Path, how: str) -> None:
    """Whatever Python call is used: the file of the run can't be read, changed, listed or linked."""
    secret = tmp_path / "record.json"
    secret.write_text("7")
    with pytest.raises(AttackFailedError, match="PermissionError: an attack may not"):
        ask(pool, how, path=str(secret))
    assert secret.read_text() == "7"


@pytest.mark.parametrize("how", ["starts_a_program", "forks", "loads_a_library", "connects", "resolves", "kills"])
def test_network_and_programs_are_out_of_reach(pool: Pool, how: str) -> None:
    """Sockets, names, other programs, system calls by ctypes."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(AttackFailedError, match="may not"):
        ask(pool, how, port=listener.getsockname()[1])


def test_the_environment_and_the_working_folder_are_empty(pool: Pool) -> None:
    """No variable of the caller's, no file where it works, no descriptor that leads back."""
    found = ask(pool, "surroundings")
    assert "PATH" in os.environ
    assert found["inherited"].tolist() == [0]
    assert found["files"].tolist() == [0]
    assert found["input"].tolist() == [0]


def test_nothing_of_one_view_is_left_for_the_next(pool: Pool) -> None:
    """Each view has a process of its own: what an attack left in memory is gone."""
    assert [int(ask(pool, "remembers", turn=turn)["count"][0]) for turn in range(3)] == [1, 1, 1]


def test_the_same_view_is_attacked_once(pool: Pool) -> None:
    """Same tensors, same facts, same attack: the same answer; what the attack doesn't read makes no difference."""
    asked = probe("reads")
    first = pool.submit(view(), [asked])
    other = AdversaryView(view="V1", tensors={"open": np.arange(3.0), "truth": np.zeros(4)}, facts={})
    assert pool.submit(other, [asked]) is first
    assert pool.submit(view(seconds=1), [asked]) is not first
    assert pool.submit(AdversaryView(view="V1", tensors={"open": np.arange(4.0)}, facts={}), [asked]) is not first
    assert pool.submit(AdversaryView(view="V3", tensors={"open": np.arange(3.0)}, facts={}), [asked]) is not first


def test_a_crash_is_named_and_the_pool_goes_on(pool: Pool) -> None:
    """The last line of the traceback, then the next view."""
    with pytest.raises(AttackFailedError, match="crashes in view V1: ZeroDivisionError"):
        ask(pool, "crashes")
    assert ask(pool, "reads")


def test_a_process_that_ends_without_a_word_is_told_by_its_status(tmp_path: Path) -> None:
    """Killed before it could open its error file."""
    program = tmp_path / "killed.py"
    program.write_text("for line in open(0): print('{\"status\": -9}', flush=True)\n", encoding="utf-8")
    with Pool(processes=1, program=program) as killed, pytest.raises(AttackFailedError, match="ended with status -9"):
        ask(killed, "crashes")


def test_views_are_read_back_as_written(tmp_path: Path) -> None:
    """Facts and tensors, and nothing pickled; a broken file is named."""
    write_view(tmp_path, view(seconds=3), ["open"])
    found = read_view(tmp_path)
    assert dict(found.facts) == {"seconds": 3}
    assert found.view == "V1"
    assert np.array_equal(found.tensors["open"], np.arange(3.0))
    assert {path.name for path in tmp_path.iterdir()} == {"tensors.safetensors", "facts.json"}
    (tmp_path / "tensors.safetensors").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="can't read tensors"):
        read_view(tmp_path)


def test_every_attack_is_registered_once_and_needs_one_before_it() -> None:
    """Names are unique; what an attack needs stands before it."""
    assert len(set(NAMES)) == len(NAMES)
    for number, attack in enumerate(ATTACKS):
        assert attack.needs is None or attack.needs in NAMES[:number]
        assert attack.views


UPDATES_IN_SIGHT: tuple[View, ...] = ("V3", "V4")
BIT_ORDER_KNOWN: tuple[View, ...] = ("V1", "V2c", "V3", "V4")
RESERVED: dict[str, tuple[View, ...]] = {
    "losses": ("V4",), "shadow.*": ("V4",), "steps": ("V4",), "cell_compound": ("V4",), "away": ("V4",),
    "partner.*": UPDATES_IN_SIGHT, "heads": ("V1", "V4"), "hidden.*": ("V1", "V4"), "cell_value": ("V1", "V4"),
    "library.*": BIT_ORDER_KNOWN, "order": BIT_ORDER_KNOWN, "chemotype.*": BIT_ORDER_KNOWN,
    "candidate.indices": BIT_ORDER_KNOWN,
}  # fmt: skip
"""Tensors that only these views hold: losses and shadows are the auditor's, molecules need the order of the bits."""


def test_no_attack_reads_what_its_view_does_not_hold() -> None:
    """Member information stays with the auditor; an operator has no bit order; an outsider reads predictions alone."""
    for attack in ATTACKS:
        for view_name in attack.views:
            wrong = [name for name in attack.reads if view_name not in RESERVED.get(name, (view_name,))]
            assert not wrong, f"{attack.name} from {view_name} reads {wrong}"
    assert {name for attack in ATTACKS if "V0" in attack.views for name in attack.reads} == {
        "compound", "partner", "of_cell", "prediction", "cell_task",
    }  # fmt: skip


def test_a_job_refuses_an_attack_that_its_view_has_not() -> None:
    """The auditor's attack on an outsider's view would be recorded as an outsider's."""
    outside = AdversaryView(view="V0", tensors={}, facts={})
    auditors = next(attack for attack in ATTACKS if attack.name == "membership_loss")
    with pytest.raises(ParameterError, match="membership_loss runs from V4, view is V0"):
        Job(view=outside, attacks=(auditors,), truth=None, about={})


KILLED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = [{here!r}, {tests!r}]
from pathlib import Path
from test_isolation import Pool, probe, view
with Pool(processes=1, program=Path({here!r}) / "isolation_probes.py") as pool:
    pool.submit(view(), [probe("sleeps")]).result()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells a worker that its caller has ended meanwhile")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_attack_does_not_outlive_its_command_and_its_view_is_removed(tmp_path: Path, sent: signal.Signals) -> None:
    """However the command ends while an attack runs: no process and no view, which may be a partner's update, is left."""
    here = Path(__file__).parent
    script = KILLED.format(here=str(here), tests=str(here.parent))
    running = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        assert awaited(lambda: any(tmp_path.glob("securefl-view-*/answer/error.txt")), 120)
        running.send_signal(sent)
        running.wait(60)
        assert awaited(lambda: not of_session(running.pid), 60)
        assert awaited(lambda: not list(tmp_path.glob("securefl-view-*")), 60)
    finally:
        for process in of_session(running.pid):
            os.kill(process, signal.SIGKILL)
