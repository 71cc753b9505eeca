"""What a report says of transcripts, prices, settings and sweeps, each from its record, and what it marks in red."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from made_run import add_everything, made_arm, made_run_record, write_run
from pages import Page
from stand_ins import CountingRng

from securefl.config import RunConfig, SecaggConfig
from securefl.errors import InputError, VerificationError
from securefl.evidence import SweepRecord
from securefl.quantize import Quantizer
from securefl.records import ArmRecord, AttackRecord, RunRecord, read_record, write_record
from securefl.report import build
from securefl.report.conformance import decryptor_of, protocol_record, warnings_of
from securefl.report.figures.tradeoff import Point, front
from securefl.report.prices import estimates, load_prices
from securefl.report.recommendation import recommend
from securefl.report.tables import cost_table
from securefl.report.verdicts import Finding, Judged
from securefl.secagg.masking.protocol import set_up
from securefl.secagg.replay import transcript_head
from securefl.secagg.rounds import run_round
from securefl.secagg.transcript import TranscriptWriter
from securefl.types import ClientId

CONFIG = RunConfig().model_dump(mode="json")


def record_rounds(path: Path, cohorts: tuple[tuple[int, ...], ...]) -> None:
    """Run masking with real messages, a round for each cohort of five partners, and keep the transcript."""
    clients = [ClientId(i + 1) for i in range(5)]
    quantizer, rng = Quantizer.for_sum(5, clip=1.0), CountingRng()
    setup = set_up(clients, quantizer=quantizer, run_id=bytes(32), rng=rng)
    path.parent.mkdir(parents=True)
    with TranscriptWriter(path, transcript_head(setup)) as writer:
        for round, cohort in enumerate(cohorts, start=1):
            updates = {client: np.full(8, 0.1) for client in clients}
            dropouts = {client: "masked_input" for client in clients if client not in cohort}
            model = bytes([round]) * 32
            result = run_round(
                setup, updates, weights=dict.fromkeys(clients, 1), round=round, model_hash=model, rng=rng, quantizer=quantizer,
                dropouts=dropouts,
            )  # fmt: skip
            writer.add_round(round, model_hash=model, messages=result.transcript)


def test_a_transcript_becomes_suite_thresholds_and_a_ledger_of_openings(tmp_path: Path) -> None:
    name = "arms/masking/seed-0/transcript.jsonl"
    record_rounds(tmp_path / name, ((1, 2, 3, 4, 5), (1, 2, 3, 4)))
    found = protocol_record(tmp_path, name, made_arm("masking"), CONFIG)
    assert (found.parties, found.threshold, found.required, found.colluders) == (5, 4, 4, 1)
    assert found.signed
    assert found.violations == ()
    assert (found.rounds, found.openings, found.cohorts, found.dropouts) == (2, 2, 2, 1)
    # Two sums that differ by one partner would show it, were the inputs of the rounds the same.
    assert (found.rank, found.smallest) == (2, 1)
    assert any("AES" in line.upper() for line in found.suite)
    assert any("Ed25519" in line and "256" in line for line in found.suite)


def test_a_fixed_cohort_exposes_nobody_by_difference(tmp_path: Path) -> None:
    name = "arms/masking/seed-0/transcript.jsonl"
    record_rounds(tmp_path / name, ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5)))
    found = protocol_record(tmp_path, name, made_arm("masking"), CONFIG)
    assert (found.rank, found.smallest) == (1, 5)


def test_a_report_is_refused_over_a_broken_transcript(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", arms=("standalone", "masking"), audited=False)
    path = run / "arms" / "masking" / "seed-0" / "transcript.jsonl"
    record_rounds(path, ((1, 2, 3, 4, 5),))
    build(run)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *lines[2:]]) + "\n", encoding="utf-8")
    with pytest.raises(VerificationError, match="chain breaks"):
        build(run)


@pytest.mark.parametrize(
    ("name", "notes", "expected"),
    [
        ("masking", (), "none"),
        ("ckks", (), "single"),
        ("paillier", (), "threshold"),
        ("paillier", ("single-decryptor: one party holds the whole Paillier key",), "single"),
        ("plaintext", (), "open"),
    ],
)
def test_who_can_decrypt(name: str, notes: tuple[str, ...], expected: str) -> None:
    arm = made_arm(name).model_copy(update={"notes": notes})
    assert decryptor_of(arm) == expected
    assert bool([w for w in warnings_of(arm, CONFIG) if "whole decryption key" in w]) == (expected == "single")


def test_a_short_paillier_key_is_warned_of() -> None:
    short = RunConfig(secagg=SecaggConfig(paillier_bits=2048)).model_dump(mode="json")
    assert "2048-bit" in warnings_of(made_arm("paillier"), short)[0]
    assert warnings_of(made_arm("paillier"), CONFIG) == ()
    assert warnings_of(made_arm("masking"), short) == ()


def test_an_arm_with_one_key_holder_is_red_wherever_it_stands(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    build(run)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    marked = [e for e in page.all("small") if "one key holder" in "".join(e.text)]
    assert all("alarm" in e.attributes["class"] for e in marked)
    assert len(marked) >= 8
    rows = [e for e in page.all("th") if "".join(e.text).strip().startswith("ckks")]
    assert rows
    assert all("one key holder" in "".join(e.text) for e in rows)
    drawn = {"".join(e.text) for e in page.all("text")}
    assert "ckks ⚠" in drawn
    assert "ckks" not in drawn
    assert "masking" in drawn
    assert "One party alone holds the key" in page.visible()


def test_prices_scale_as_the_model_says() -> None:
    prices = load_prices()
    data = made_run_record(RunConfig()).data
    arm = made_arm("masking")
    (one,) = estimates([arm, made_arm("pooled")], data, 5, prices)
    scale = prices.scale
    assert one.gigabytes_sent == pytest.approx(arm.cost.bytes_up_per_parameter * scale.parameters * scale.rounds / 1e9)
    doubled = prices.model_copy(update={"scale": scale.model_copy(update={"parameters": 2 * scale.parameters})})
    (twice,) = estimates([arm], data, 5, doubled)
    assert twice.protocol_hours == pytest.approx(2 * one.protocol_hours)
    assert twice.training_hours == pytest.approx(2 * one.training_hours)
    free = prices.model_copy(update={"core_hour": 0.0, "gigabyte_sent": 0.0})
    assert estimates([arm], data, 5, free)[0].money_consortium == 0.0
    tight = prices.model_copy(update={"scale": scale.model_copy(update={"limit_days": 1e-6})})
    assert not estimates([arm], data, 5, tight)[0].fits


@pytest.mark.parametrize(("scheme", "each"), [("paillier", True), ("ckks", False)])
def test_decryptors_are_in_the_price_and_in_the_time(scheme: str, each: bool) -> None:
    """A threshold's decryptors are the partners' own, all at the same time; a single one is everybody's."""
    prices, data, bare = load_prices(), made_run_record(RunConfig()).data, made_arm(scheme)
    dear = bare.model_copy(update={"cost": bare.cost.model_copy(update={"decryptor_seconds": 50.0, "key_seconds": 2.0})})
    free = bare.model_copy(update={"cost": bare.cost.model_copy(update={"decryptor_seconds": 0.0})})
    one, other = estimates([dear, free], data, 5, prices)
    scale = prices.scale
    hours = scale.rounds * (2.0 + 50.0 * scale.parameters / bare.parameters * scale.partners / 5) / 3600
    assert one.decryptor_hours == pytest.approx(hours)
    assert other.decryptor_hours == 0.0
    assert one.money_consortium - other.money_consortium == pytest.approx(hours * prices.core_hour)
    share = hours / scale.partners if each else hours
    assert one.days - other.days == pytest.approx(share / 24)
    assert one.money_partner - other.money_partner == pytest.approx(share * prices.core_hour if each else 0.0, abs=1e-9)
    row = next(row for row in cost_table([dear]).rows)
    assert any("2.0 s for the key" in cell.note for cell in row)


@pytest.mark.parametrize(
    ("content", "message"),
    [("= x", "prices"), ("title = 1", "title"), ('title="t"\ncore_hour = -1', "statement|core_hour")],
)
def test_a_bad_price_list_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_prices(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="nowhere"):
        load_prices(tmp_path / "nowhere.toml")


def arm_with(name: str, mean: float, delta: float, seconds: float = 0.01) -> ArmRecord:
    """Return an arm with a mean, a settled difference from standalone and a cost."""
    arm = made_arm(name)
    seen = {"mean": mean, "ci_low": mean - 0.02, "ci_high": mean + 0.02, "delta_ci_low": delta - 0.01,
            "delta_ci_high": delta + 0.01}  # fmt: skip
    return arm.model_copy(
        update={
            "performance": arm.performance.model_copy(update=seen),
            "cost": arm.cost.model_copy(update={"client_seconds": seconds}),
        }
    )


def test_the_recommended_setting_follows_its_rule() -> None:
    cheap, dear = arm_with("masking", 0.40, 0.1, 0.01), arm_with("paillier", 0.41, 0.1, 9.0)
    worse, single = arm_with("dp", 0.1, -0.2), arm_with("ckks", 0.5, 0.2)
    arms = (cheap, dear, worse, single)
    names = [arm.name for arm in arms]
    assert recommend(arms, names).arm == "masking"
    assert "paillier reaches" in recommend(arms, names).because
    assert recommend(arms, ["dp"]).arm is None
    assert "worse than training alone" in recommend(arms, ["dp"]).because
    assert "one party alone" in recommend(arms, ["ckks"]).because
    assert "no option" in recommend(arms, []).because
    far = arm_with("paillier", 0.60, 0.3, 9.0)
    assert recommend((cheap, far), ["masking", "paillier"]).arm == "paillier"


def test_the_front_keeps_what_nothing_beats() -> None:
    def point(name: str, mean: float, used: float) -> Point:
        attack = AttackRecord(name="a", view="V1", arm=name, release="as-run", status="run")
        worst = Judged(attack=attack, limit=1.0, finding=Finding.WITHIN, used=used, used_low=None, used_high=None)
        return Point(arm=arm_with(name, mean, 0.0), worst=worst)

    shown = [point("masking", 0.4, 3.0), point("dp", 0.2, 0.5), point("paillier", 0.3, 4.0), point("ckks", 0.1, 0.6)]
    assert [p.arm.name for p in front(shown)] == ["dp", "masking"]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Return the page of a run whose records hold everything."""
    run = write_run(tmp_path_factory.mktemp("full") / "run")
    add_everything(run)
    build(run)
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_every_picture_is_drawn_when_its_data_are_there(full: Page) -> None:
    drawn = {e.attributes["id"] for e in full.all("figure")}
    wanted = ("roc", "support", "epsilon", "ecdf", "cost", "trade-off", "membership", "similarity", "few-data")
    assert {f"f-{name}" for name in wanted} <= drawn
    assert "no attack's record holds a whole curve" not in full.visible()


def test_a_gain_is_told_in_words_for_those_who_do_not_see_the_picture(full: Page) -> None:
    told = [e.attributes["aria-label"] for e in full.all("svg") if "aria-label" in e.attributes]
    assert any("similarity to the nearest" in text and "masking 0.2\u20130.4: 0.400" in text for text in told)
    assert any("training values of the task" in text and "masking 50\u201399: 0.400" in text for text in told)


def test_a_picture_that_can_not_be_drawn_is_listed_with_its_reason(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", arms=("standalone", "masking"))
    build(run)
    text = Page((run / "report.html").read_text(encoding="utf-8")).visible()
    for reason in ("no attack's record holds a whole curve", "no sweep over the support threshold", "different epsilon ran",
                   "no attack on this asset ran", "no arm's record holds differences by similarity"):  # fmt: skip
        assert reason in text


def test_the_table_of_options_comes_from_the_sweep(full: Page) -> None:
    row = next(e for e in full.all("tr") if "guard.k" in "".join(e.text))
    told = "".join(row.text)
    assert "−0.410" in told
    assert "−0.500\u00a0to\u00a0−0.300" in told
    assert "may be noise" in told


def test_sections_of_the_issue_are_there(full: Page) -> None:
    text = full.visible()
    for part in (
        "Recommended setting", "Ledger of releases", "Cryptographic conformance", "At a stated scale",
        "What is asked, and where the answer stands", "Reproducing it", "It has to be made again", "By applicability domain",
        "Certainty of predictions", "Subgroups",
        "What was not run, and why", "Glossary", "mask reuse", "round number was used before", "0.2 to 0.4",
    ):  # fmt: skip
        assert part in text, part


def test_without_a_day_the_report_says_that_it_never_counts(full: Page) -> None:
    assert "has no date, so it never counts" in full.visible()


def test_a_sweep_in_the_issues_spelling_reads_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", arms=("standalone", "masking"), audited=False)
    (run / "sweep").mkdir()
    (run / "sweep" / "options.json").write_text('{"options": [{"parameter": "x"}]}', encoding="utf-8")
    with pytest.raises(InputError, match=r"options\.json"):
        build(run)
    assert read_record(RunRecord, run / "run.json").config_sha256


def test_a_sweep_over_two_leaks_keeps_them_apart(tmp_path: Path) -> None:
    recovery, membership = "V1.fingerprint_recovery.exact@exposed", "V4.membership_rmia.tpr_at_fpr_1pct@model"
    run = write_run(tmp_path, arms=("standalone", "masking"))
    span = {"delta_leak": [-0.2, -0.1], "delta_performance": [-0.1, 0.1]}
    steps = [{"parameter": parameter, "from": "3", "to": "inf", "delta_leak": -0.15, "delta_performance": 0.0, "leak": leak,
              "arm": "masking", "n": 3, "intervals": span}
             for parameter in ("guard.k", "dp.epsilon") for leak in (recovery, membership)]  # fmt: skip
    points = [{"parameter": parameter, "value": value, "leak_name": leak, "arm": "masking", "n": 3,
               "leak": {"mean": 0.1, "low": 0.0, "high": 0.2}, "performance": {"mean": 0.4, "low": 0.3, "high": 0.5}}
              for parameter in ("guard.k", "dp.epsilon") for value in ("3", "inf")
              for leak in (recovery, membership)]  # fmt: skip
    sweep = {"options": steps, "points": points, "leak": f"{recovery} and {membership}", "performance": "R2"}
    write_record(SweepRecord.model_validate(sweep), run / "sweep" / "options.json")
    build(run)
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    (table,) = [e for e in page.all("table") if e.attributes.get("id") == "t-sweep"]
    told = re.sub(r"\s+", " ", "".join(table.text))
    assert told.count("V1 fingerprint recovery, recovered exactly, exposed") == 2
    assert told.count("V4 membership by RMIA, TPR at FPR 1 %, model") == 2
    assert recovery not in told
    assert {"f-moves", "f-support", "f-epsilon"} <= {e.attributes["id"] for e in page.all("figure")}
    alt = [e.attributes["aria-label"] for e in page.all("svg") if "aria-label" in e.attributes]
    assert any("dp.epsilon 3 → ∞" in text for text in alt)
    # one line a leak: neither is joined with the other
    assert any("fingerprint recovery 3: 0.100; membership by RMIA 3: 0.100" in text for text in alt)
