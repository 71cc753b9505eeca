"""The ledger: composition, the hard stop before the release, restarts, two processes at once, and a chain that shows change."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path

import pytest
from dp_accounting.pld import privacy_loss_distribution

from securefl.dp.accountant import RECORD_NEIGHBOURS, PrvAccountant, SampledGaussian, solve_noise
from securefl.dp.composition import FixedPrice, Mechanism, Unpriced, composed, lower_bound, merged
from securefl.dp.ledger import Budget, PrivacyLedger, Release, read_ledger, release_json, release_of
from securefl.dp.noisy_sums import Family, NoisySums
from securefl.errors import BudgetExceededError, InputError, ParameterError, VerificationError

DELTA = 1e-5
FULL = SampledGaussian(noise_multiplier=4.0, sampling_rate=1.0, steps=4)
SUMS = NoisySums(family=Family.SKELLAM, contributors=3, length=100, bound_squared=10**8, share_variance=4 * 10**8, rounds=4)
MECHANISMS: tuple[Mechanism, ...] = (FULL, SUMS, FixedPrice(epsilon=0.5, delta=1e-7), Unpriced())


def budget(epsilon: float = 3.0, partner: str = "north") -> Budget:
    return Budget(partner=partner, unit="record", neighbouring=RECORD_NEIGHBOURS, epsilon=epsilon, delta=DELTA)


def release(mechanism: Mechanism = FULL, arm: str = "dp") -> Release:
    return Release(what="training", arm=arm, data="ab" * 32, mechanism=mechanism, clipping_norm=1.0)


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: type(m).__name__)
def test_a_release_survives_the_file(tmp_path: Path, mechanism: Mechanism) -> None:
    assert release_of(release_json(release(mechanism))) == release(mechanism)
    ledger = PrivacyLedger(tmp_path / "ledger.jsonl", budget(inf))
    ledger.spend([release(mechanism)])
    assert ledger.state().releases == (release(mechanism),)
    assert ledger.state().budget == budget(inf)


def test_releases_compose_and_the_one_too_many_is_refused_before_it_happens(tmp_path: Path) -> None:
    path = tmp_path / "ledgers" / "north.jsonl"
    first = PrivacyLedger(path, budget(3.0)).spend([release()])
    alone = PrvAccountant().epsilon(FULL, delta=DELTA)
    assert first.upper == pytest.approx(alone)
    before = path.read_bytes()
    with pytest.raises(BudgetExceededError, match=r"north: epsilon=4\.387 after this release must be <= 3 .*1 releases"):
        PrivacyLedger(path, budget(3.0)).spend([release(), release(), release()])
    assert path.read_bytes() == before
    # a new object on the same file is a restart
    second = PrivacyLedger(path, budget(3.0)).spend([release()])
    assert alone < second.upper < 2 * alone
    assert read_ledger(path).spent == second


def test_what_was_solved_for_the_budget_fits_it_once(tmp_path: Path) -> None:
    noise = solve_noise(2.0, delta=DELTA, sampling_rate=0.2, steps=20, accountant=PrvAccountant())
    whole = release(SampledGaussian(noise_multiplier=noise, sampling_rate=0.2, steps=20))
    ledger = PrivacyLedger(tmp_path / "ledger.jsonl", budget(2.0))
    assert 1.9 < ledger.spend([whole]).upper <= 2.0
    with pytest.raises(BudgetExceededError):
        ledger.spend([whole])
    with pytest.raises(BudgetExceededError):
        ledger.spend([release(FixedPrice(epsilon=0.2), arm="metric")])


def test_an_unpriced_release_costs_infinity(tmp_path: Path) -> None:
    ledger = PrivacyLedger(tmp_path / "ledger.jsonl", budget(1e9))
    with pytest.raises(BudgetExceededError, match="epsilon=inf"):
        ledger.spend([release(Unpriced(), arm="masking")])
    public = PrivacyLedger(tmp_path / "public.jsonl", budget(inf))
    assert public.spend([release(Unpriced(), arm="masking")]).upper == inf


def test_another_budget_on_the_same_file_is_refused(tmp_path: Path) -> None:
    PrivacyLedger(tmp_path / "ledger.jsonl", budget(3.0))
    for other in (budget(300.0), budget(3.0, partner="south")):
        with pytest.raises(InputError, match="guards"):
            PrivacyLedger(tmp_path / "ledger.jsonl", other)
    with pytest.raises(ParameterError, match="epsilon=-1"):
        budget(-1.0)


def test_every_changed_byte_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = PrivacyLedger(path, budget(inf))
    for arm in ("dp", "dp=1", "dp=8"):
        ledger.spend([release(arm=arm)])
    content = path.read_bytes()
    for place in range(0, len(content) - 1, 7):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(VerificationError):
            read_ledger(path)
        with pytest.raises(VerificationError):
            ledger.spend([release()])
    lines = content.splitlines(keepends=True)
    for left in ([0, 2, 3], [0, 2, 1, 3], [1, 2, 3], [0, 1, 1, 2, 3]):
        path.write_bytes(b"".join(lines[i] for i in left))
        with pytest.raises(VerificationError):
            read_ledger(path)
    # the end can be cut off unseen, as the docstring says: only the published last hash shows it
    path.write_bytes(b"".join(lines[:3]))
    assert len(read_ledger(path).releases) == 2


def test_half_a_line_of_a_crash_is_neither_spent_nor_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = PrivacyLedger(path, budget(3.0))
    ledger.spend([release()])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"entry":{"arm":"dp"')
    assert len(read_ledger(path).releases) == 1
    ledger.spend([release()])
    assert path.read_bytes().startswith(whole)
    assert len(read_ledger(path).releases) == 2


def test_an_entry_that_only_lacks_its_end_stays_paid(tmp_path: Path) -> None:
    """Editors and copies drop a last end of line: the release before it must not be forgotten."""
    path = tmp_path / "ledger.jsonl"
    ledger = PrivacyLedger(path, budget(3.0))
    ledger.spend([release()])
    whole = path.read_bytes()
    path.write_bytes(whole.removesuffix(b"\n"))
    assert len(read_ledger(path).releases) == 1
    ledger.spend([release()])
    assert path.read_bytes().startswith(whole)
    assert len(read_ledger(path).releases) == 2
    path.write_bytes(whole.splitlines()[0])
    PrivacyLedger(path, budget(3.0)).spend([release()])
    assert path.read_bytes() == whole


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_privacy_ledger import budget, release
from securefl.dp.ledger import PrivacyLedger
path = Path({path!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
room = path.stat().st_size + 40
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    PrivacyLedger(path, budget(3.0)).spend([release()])
except Exception as error:
    sys.stderr.write(type(error).__name__ + ": " + str(error))
"""


def test_a_full_disk_is_an_error_of_ours_and_spends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    PrivacyLedger(path, budget(3.0)).spend([release()])
    whole = path.read_bytes()
    program = FULL_DISK.format(tests=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "InputError: can't write the ledger: File too large"
    assert path.read_bytes()[:-40] == whole
    assert len(PrivacyLedger(path, budget(3.0)).state().releases) == 1
    assert path.read_bytes() == whole


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't read"):
        read_ledger(tmp_path / "nothing.jsonl")
    for text in ("", "{}\n", "[]\n", json.dumps({"entry": {"previous": "00"}, "hash": "00"}) + "\n"):
        (tmp_path / "other.jsonl").write_text(text, encoding="utf-8")
        with pytest.raises(VerificationError):
            read_ledger(tmp_path / "other.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match="can't open"):
        PrivacyLedger(tmp_path / "folder.jsonl", budget())


def _spend_often(path: Path, count: int) -> None:
    """Another process's releases: as many as it is let."""
    ledger = PrivacyLedger(path, budget(3.0))
    for _ in range(count):
        try:
            ledger.spend([release(FixedPrice(epsilon=0.25))])
        except BudgetExceededError:
            continue


def test_two_processes_at_once_share_one_budget(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    PrivacyLedger(path, budget(3.0))
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_spend_often, args=(path, 10)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    state = read_ledger(path)
    assert len(state.releases) == 12
    assert state.spent.upper == pytest.approx(3.0)


def test_a_mixture_is_priced_above_each_of_its_parts() -> None:
    both = composed([FULL, SUMS], delta=DELTA)
    for part in (FULL, SUMS):
        assert composed([part], delta=DELTA).upper < both.upper
    assert both.accountant == "RDP (dp-accounting)"
    with_price = composed([FULL, SUMS, FixedPrice(epsilon=0.5)], delta=DELTA)
    assert with_price.upper == pytest.approx(both.upper + 0.5)
    assert composed([FixedPrice(epsilon=0.1, delta=DELTA)], delta=DELTA).upper == inf
    assert composed([], delta=DELTA).upper == 0
    with pytest.raises(ParameterError, match="delta="):
        composed([], delta=0.0)


def test_halves_of_a_training_cost_what_the_whole_costs() -> None:
    half = SampledGaussian(noise_multiplier=1.5, sampling_rate=0.1, steps=20)
    whole = SampledGaussian(noise_multiplier=1.5, sampling_rate=0.1, steps=40)
    assert merged([half, half]) == (whole,)
    assert composed([half, half], delta=DELTA) == composed([whole], delta=DELTA)
    other = SampledGaussian(noise_multiplier=1.4, sampling_rate=0.1, steps=20)
    assert composed([half, other], delta=DELTA).upper > composed([whole], delta=DELTA).upper


def optimistic(mechanisms: Sequence[SampledGaussian]) -> float:
    """Return a lower bound of what they cost together, by dp-accounting's loss distributions rounded the other way."""
    each = [
        privacy_loss_distribution.from_gaussian_mechanism(
            one.noise_multiplier,
            sampling_prob=one.sampling_rate,
            pessimistic_estimate=False,
            value_discretization_interval=1e-3,
            use_connect_dots=False,
        ).self_compose(one.steps)
        for one in mechanisms
    ]
    whole = each[0]
    for one in each[1:]:
        whole = whole.compose(one)
    return float(whole.get_epsilon_for_delta(DELTA))


def test_trainings_of_different_kinds_cost_no_less_together_than_an_independent_accountant_says() -> None:
    mixed = [
        SampledGaussian(noise_multiplier=0.7, sampling_rate=0.01, steps=100),
        SampledGaussian(noise_multiplier=4.0, sampling_rate=1.0, steps=4),
        SampledGaussian(noise_multiplier=1.5, sampling_rate=0.2, steps=10),
    ]
    together = composed(mixed, delta=DELTA).upper
    assert optimistic(mixed) <= together <= optimistic(mixed) + 0.15
    # the negative control: what leaves one of them out is under it
    assert composed(mixed[:2], delta=DELTA).upper < optimistic(mixed)


def test_lower_and_upper_bound_enclose_a_narrow_interval() -> None:
    mechanism = SampledGaussian(noise_multiplier=2.0, sampling_rate=0.1, steps=20)
    low, high = lower_bound(mechanism, delta=DELTA), composed([mechanism], delta=DELTA).upper
    assert 0 < low < high < low + 0.05
