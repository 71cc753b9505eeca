"""Provenance: the same bytes, signatures, every changed byte of every file named, crates, bills of materials, recomputation."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from made_run import made_arm, write_run
from stand_ins import CountingRng
from typer.testing import CliRunner

from securefl.cli.main import app
from securefl.cli.report import write_companions
from securefl.crypto import dsse, mldsa
from securefl.crypto.signature import SigningKey
from securefl.dp.ledger import Budget, PrivacyLedger
from securefl.errors import InputError, MissingExtraError
from securefl.evidence import SweepRecord
from securefl.quantize import Quantizer
from securefl.records import ReportRecord, encoded, read_record, write_record
from securefl.report import Terms, build
from securefl.report.assemble import assemble
from securefl.report.attestation import statement
from securefl.report.crate import METADATA, pack, unpack
from securefl.report.editions import AUDITOR
from securefl.report.intervals import clopper_pearson, wrong_intervals
from securefl.report.materials import bill_of_materials
from securefl.report.verify import Item, Scope, editions_in, verify
from securefl.secagg.keyfile import create_key
from securefl.secagg.masking.protocol import set_up
from securefl.secagg.replay import transcript_head
from securefl.secagg.rounds import OPERATOR, Message
from securefl.secagg.transcript import TranscriptWriter
from securefl.types import ClientId, Secret

KEY = SigningKey(Secret(bytes([3]) * 32))
SIGNER = (KEY.verify_key, mldsa.key_hash(mldsa.SecondKey(KEY).public_key))
DAY = date(2026, 3, 1)
ARMS = ("standalone", "plaintext", "masking")


def add_transcript(path: Path) -> None:
    """Write a transcript whose chain holds; its one message is the operator's own and says nothing."""
    clients = [ClientId(i + 1) for i in range(3)]
    setup = set_up(clients, quantizer=Quantizer.for_sum(3, clip=1.0), run_id=bytes(32), rng=CountingRng())
    path.parent.mkdir(parents=True, exist_ok=True)
    with TranscriptWriter(path, transcript_head(setup)) as writer:
        writer.add_round(1, model_hash=bytes(32), messages=[Message(OPERATOR, ClientId(1), "share_keys", b"nothing")])


def made_folder(run: Path) -> Path:
    """Write an invented run with a transcript, a ledger and a sweep beside its records."""
    write_run(run, arms=ARMS)
    add_transcript(run / "arms" / "masking" / "seed-0" / "transcript.jsonl")
    budget = Budget(partner="partner-1", unit="record", neighbouring="add or remove one", epsilon=3.0, delta=1e-5)
    (run / "arms" / "masking" / "seed-0" / "ledgers").mkdir()
    PrivacyLedger(run / "arms" / "masking" / "seed-0" / "ledgers" / "partner-1.jsonl", budget)
    option = {"parameter": "guard.k", "from": "0", "to": "3", "delta_leak": -0.4, "delta_performance": -0.01}
    write_record(SweepRecord.model_validate({"options": [option]}), run / "sweep" / "options.json")
    return run


def signed(run: Path, terms: Terms) -> str:
    """Build and sign an edition and return how its files begin."""
    report = build(run, terms)
    begin = "report-auditor" if terms.edition.kind == "auditor" else "report"
    write_companions(run, begin, report, terms, signer=KEY, pdf=False)
    return begin


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run's folder with its signed auditor's edition, to be copied and not changed."""
    run = made_folder(tmp_path_factory.mktemp("original") / "run")
    policy = run.parent / "policy.toml"
    policy.write_text('title="t"\nstatement="s"\n[appetite.V1.any]\nmax_exact=0.5\n', encoding="utf-8")
    signed(run, Terms(appetite=policy, as_of=DAY, edition=AUDITOR))
    return run


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may change."""
    shutil.copy(original.parent / "policy.toml", tmp_path / "policy.toml")
    return shutil.copytree(original, tmp_path / "run")


def scope(run: Path, *, rerun: bool = False, signers: tuple[tuple[bytes, bytes], ...] = (SIGNER,)) -> Scope:
    """Return what a verification is given."""
    return Scope(signers=signers, outside={"policy": run.parent / "policy.toml"}, rerun=rerun)


def failed(items: tuple[Item, ...]) -> set[str]:
    """Return what did not hold."""
    return {item.what for item in items if item.status == "failed"}


def test_an_unchanged_report_holds_in_every_item(original: Path) -> None:
    items = verify(original, "report-auditor", scope(original, rerun=True))
    # The one transcript's message is made up, so its replay finds a broken rule and says so.
    assert failed(items) == {"arms/masking/seed-0/transcript.jsonl"}
    told = {item.what: item.told for item in items}
    assert "trusted" in told["report-auditor.intoto.json"]
    assert "verifies" in told["ML-DSA-65 signature"]
    assert told["report-auditor.html"] == "recomputed, same bytes"
    assert "0 releases" in told["arms/masking/seed-0/ledgers/partner-1.jsonl"]
    assert "Clopper-Pearson" in told["intervals"]


def inputs_and_outputs(run: Path) -> Iterator[str]:
    """Yield every file of a run's folder but the crate, whose content is that of the others."""
    for path in sorted(run.rglob("*")):
        if path.is_file() and path.suffix != ".zip":
            yield path.relative_to(run).as_posix()


def test_one_changed_byte_of_any_file_is_found_and_named(original: Path, tmp_path: Path) -> None:
    names = list(inputs_and_outputs(original))
    assert len(names) > 20
    for number, name in enumerate(names):
        copy = shutil.copytree(original, tmp_path / str(number))
        shutil.copy(original.parent / "policy.toml", copy.parent / "policy.toml")
        content = bytearray((copy / name).read_bytes())
        place = len(content) * 2 // 3
        content[place] = content[place] ^ 1
        (copy / name).write_bytes(bytes(content))
        try:
            named = failed(verify(copy, "report-auditor", scope(copy)))
        except InputError as error:
            named = {Path(str(error).split(" ")[0]).name}
        assert any(name.endswith(what) or what in name for what in named), (name, named)


def test_a_changed_policy_is_named(run: Path) -> None:
    policy = run.parent / "policy.toml"
    policy.write_text(policy.read_text(encoding="utf-8").replace("0.5", "0.6"), encoding="utf-8")
    assert "policy:policy.toml" in failed(verify(run, "report-auditor", scope(run)))
    lost = Scope(signers=(SIGNER,))
    assert any(i.status == "skipped" and i.what == "policy:policy.toml" for i in verify(run, "report-auditor", lost))


def test_files_that_went_or_came_are_named(run: Path) -> None:
    (run / "arms" / "plaintext" / "record.json").unlink()
    (run / "attacks" / "added.json").write_text("{}", encoding="utf-8")
    (run / "report-auditor-figures" / "more.svg").write_text("<svg/>", encoding="utf-8")
    found = failed(verify(run, "report-auditor", scope(run)))
    assert {"arms/plaintext/record.json", "attacks/added.json", "report-auditor-figures/more.svg"} <= found


def test_another_signer_is_not_trusted_and_none_is_said_so(run: Path) -> None:
    other = SigningKey(Secret(bytes(32)))
    assert "report-auditor.intoto.json" in failed(verify(run, "report-auditor", scope(run, signers=((other.verify_key, b""),))))
    (run / "report-auditor.intoto.json").unlink()
    assert "report-auditor.intoto.json" in failed(verify(run, "report-auditor", scope(run)))
    unsigned = verify(run, "report-auditor", scope(run, signers=()))
    assert [i.status for i in unsigned if i.what == "report-auditor.intoto.json"] == ["skipped"]


def test_a_statement_about_another_report_is_found(run: Path) -> None:
    report = read_record(ReportRecord, run / "report-auditor.json")
    better = report.model_copy(update={"expires": "2099-01-01"})
    write_record(better, run / "report-auditor.json")
    assert {"statement", "report-auditor.json"} <= failed(verify(run, "report-auditor", scope(run)))


def test_a_narrowed_interval_is_found_by_the_rerun(run: Path) -> None:
    report = read_record(ReportRecord, run / "report-auditor.json")
    changed = tuple(a.model_copy(update={"ci_high": a.value}) if a.k is not None else a for a in report.attacks)
    assert wrong_intervals(report.attacks) == ()
    assert len(wrong_intervals(changed)) == sum(a.k is not None and a.k < (a.n or 0) for a in report.attacks)
    write_record(report.model_copy(update={"attacks": changed}), run / "report-auditor.json")
    assert "intervals" in failed(verify(run, "report-auditor", scope(run, rerun=True)))
    assert clopper_pearson(44, 120) == pytest.approx((0.2805, 0.4594), abs=1e-3)


def test_a_report_in_another_spelling_is_not_canonical(run: Path) -> None:
    path = run / "report-auditor.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    assert "report-auditor.json" in failed(verify(run, "report-auditor", scope(run)))


def test_the_auditors_crate_verifies_by_itself(original: Path, tmp_path: Path) -> None:
    unpack(original / "report-auditor.crate.zip", tmp_path)
    items = verify(tmp_path, "report-auditor", Scope(signers=(SIGNER,), rerun=True))
    assert failed(items) == {"arms/masking/seed-0/transcript.jsonl"}
    told = {item.what: item.told for item in items}
    assert told["report-auditor.json"] == "recomputed, same bytes"


def test_crates_describe_every_file_and_are_the_same_every_time(original: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(original / "report-auditor.crate.zip") as archive:
        graph = json.loads(archive.read(METADATA))["@graph"]
        names = set(archive.namelist())
    assert {part["@id"] for part in graph[1]["hasPart"]} == names - {METADATA}
    assert "policy/policy.toml" in names
    assert "arms/masking/record.json" in names
    content = {"b": b"2", "a": b"1"}
    assert pack(content) == pack(dict(reversed(content.items())))


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../b"])
def test_a_crate_that_leads_out_of_itself_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.zip"
    path.write_bytes(pack({name: b"x"}))
    with pytest.raises(InputError, match="leads out"):
        unpack(path, tmp_path / "inside")
    with pytest.raises(InputError, match="crate"):
        unpack(tmp_path / "nowhere.zip", tmp_path)


def test_the_unsigned_report_has_the_same_bytes_whoever_signs(original: Path, tmp_path: Path) -> None:
    again = shutil.copytree(original, tmp_path / "run")
    terms = Terms(appetite=original.parent / "policy.toml", as_of=DAY, edition=AUDITOR)
    report = build(again, terms)
    write_companions(again, "report-auditor", report, terms, signer=SigningKey(Secret(bytes([9]) * 32)), pdf=False)
    for name in ("report-auditor.json", "report-auditor.html", "report-auditor.cdx.json"):
        assert (again / name).read_bytes() == (original / name).read_bytes()
    assert (again / "report-auditor.intoto.json").read_bytes() != (original / "report-auditor.intoto.json").read_bytes()


def test_another_day_is_another_report(original: Path) -> None:
    policy = original.parent / "policy.toml"
    made = [assemble(original, Terms(appetite=policy, as_of=date(2026, 3, day), edition=AUDITOR))[0] for day in (1, 2)]
    assert encoded(made[0]) == (original / "report-auditor.json").read_bytes()
    assert [report.expires for report in made] == ["2026-08-28", "2026-08-29"]


def test_the_statement_is_canonical_and_names_every_file(original: Path) -> None:
    verified = dsse.verify((original / "report-auditor.intoto.json").read_bytes())
    content = json.loads(verified.payload)
    assert json.dumps(content, sort_keys=True, separators=(",", ":")).encode() == verified.payload
    names = [subject["name"] for subject in content["subject"]]
    assert names == sorted(names)
    assert {"report-auditor.json", "report-auditor.html", "report-auditor.cdx.json"} <= set(names)
    report = read_record(ReportRecord, original / "report-auditor.json")
    assert content["predicate"]["verdicts"]["masking"]["V0"] == "not tested"
    assert (content["predicate"]["as_of"], content["predicate"]["expires"]) == ("2026-03-01", "2026-08-28")
    assert statement(report, {}) != verified.payload


def test_the_bill_of_materials_lists_every_package(original: Path) -> None:
    report = read_record(ReportRecord, original / "report-auditor.json")
    bill = json.loads(bill_of_materials(report))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {c["name"] for c in bill["components"]} == set(report.toolkit.packages)
    toolkit = report.toolkit.model_copy(update={"dependencies": {"numpy": "2.4.6 " + "ab" * 32}})
    hashed = json.loads(bill_of_materials(report.model_copy(update={"toolkit": toolkit})))
    assert hashed["components"][0]["properties"][0]["value"] == "ab" * 32
    assert hashed["serialNumber"] != bill["serialNumber"]


def test_a_record_read_and_written_again_has_the_same_bytes(original: Path) -> None:
    path = original / "report-auditor.json"
    assert encoded(read_record(ReportRecord, path)) == path.read_bytes()
    assert encoded(made_arm("masking")) == (original / "arms" / "masking" / "record.json").read_bytes()


def test_every_edition_of_a_folder_is_found_also_one_that_lost_its_record(run: Path) -> None:
    signed(run, Terms(as_of=DAY))
    (run / "report-2.html").write_text("no edition", encoding="utf-8")
    assert editions_in(run) == ("report", "report-auditor")
    (run / "report.json").unlink()
    assert editions_in(run) == ("report", "report-auditor")
    (item,) = verify(run, "report", scope(run))
    assert (item.status, item.what) == ("failed", "report.json")
    assert "nothing else of this edition can be checked" in item.told


def test_the_command_checks_every_edition_and_says_how_many_items_held(run: Path) -> None:
    signed(run, Terms(as_of=DAY))
    done = CliRunner().invoke(app, ["report", "verify", str(run), "--appetite", str(run.parent / "policy.toml")])
    told = done.stdout.splitlines()
    heads = [line for line in told if not line.startswith("  ")]
    assert [head.split(":")[0] for head in heads] == ["report", "report-auditor"]
    assert all(" ok" in head for head in heads)
    assert sum(line.startswith("  ") for line in told) > 20


@pytest.mark.parametrize("sealed", [None, Secret(b"a passphrase")])
def test_a_private_key_in_the_runs_folder_is_refused_before_it_is_packed(
    original: Path, tmp_path: Path, sealed: Secret | None
) -> None:
    """The auditor's crate holds every file of the run, and is made to be passed on: it held the auditor's own key."""
    run = tmp_path / "run"
    shutil.copytree(original, run)
    before = {path: path.read_bytes() for path in run.glob("report*") if path.is_file()}
    create_key(run / "arms" / "auditor.key", rng=CountingRng(), passphrase=sealed)
    result = CliRunner().invoke(app, ["report", "build", str(run), "--edition", "auditor"])
    assert isinstance(result.exception, InputError)
    assert "auditor.key is a private key" in str(result.exception)
    assert {path: path.read_bytes() for path in run.glob("report*") if path.is_file()} == before


def test_a_pdf_that_cannot_be_made_costs_no_signature(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(original, run)
    before = {path: path.read_bytes() for path in run.glob("report*") if path.is_file()}
    assert run / "report-auditor.intoto.json" in before
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    result = CliRunner().invoke(app, ["report", "build", str(run), "--edition", "auditor", "--pdf"])
    assert isinstance(result.exception, MissingExtraError)
    assert {path: path.read_bytes() for path in run.glob("report*") if path.is_file()} == before
