"""A made-up run for the tests of the report: test data, invented, never shown to anybody as a result.

The shape is that of a default run (nine arms, five partners, every kind of attack and control), so that every section of
the page has something to show; no figure here was measured.
"""

from __future__ import annotations

from pathlib import Path

from scipy.stats import beta

from securefl.config import RunConfig
from securefl.evidence import RocPointRecord, SweepRecord
from securefl.measures import (
    ConformalRecord,
    ConsortiumRecord,
    EvaluationRecord,
    IntervalRecord,
    ReleasedMetricRecord,
    SimilarityBinRecord,
    SubgroupRecord,
)
from securefl.records import (
    ArmRecord,
    AttackRecord,
    AuditRecord,
    ConformanceRecord,
    ControlRecord,
    CostRecord,
    DataRecord,
    DpRecord,
    PartnerRecord,
    PerformanceRecord,
    RunRecord,
    TimingRecord,
    ToolkitRecord,
    View,
    read_record,
    write_record,
)

FEDERATED = ("plaintext", "masking", "masking+guard", "paillier", "ckks", "dp")
# arm: mean, half interval, delta, share better, seconds of a client, bytes up, error, bound
_ARMS: dict[str, tuple[float, float, float | None, float | None, float, float]] = {
    "standalone": (0.287, 0.021, None, None, 0.0, 0.0),
    "single-task": (0.334, 0.019, 0.047, 0.71, 0.0, 0.0),
    "pooled": (0.452, 0.020, 0.165, 0.93, 0.0, 0.0),
    "plaintext": (0.414, 0.020, 0.127, 0.88, 0.003, 4.0),
    "masking": (0.414, 0.020, 0.127, 0.88, 0.031, 4.002),
    "masking+guard": (0.409, 0.021, 0.122, 0.87, 0.034, 4.002),
    "paillier": (0.413, 0.021, 0.126, 0.88, 9.6, 11.4),
    "ckks": (0.414, 0.020, 0.127, 0.88, 0.92, 57.1),
    "dp": (0.171, 0.024, -0.116, 0.21, 0.030, 4.002),
}


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of k of n."""
    low = 0.0 if k == 0 else float(beta.ppf(0.025, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(0.975, k + 1, n - k))
    return low, high


def made_arm(name: str) -> ArmRecord:
    """Return an invented arm; names outside the default ones are as masking."""
    mean, half, delta, better, seconds, up = _ARMS.get(name, _ARMS["masking"])
    scheme = {"masking+guard": "masking", "dp": "masking"}.get(name, name if name not in _ARMS or up else None)
    warm = name in ("paillier", "ckks")
    curve = tuple(round(mean * (1 - 0.72**step), 4) for step in range(1, (4 if warm else 25)))
    partners = [f"partner-{i}" for i in range(1, 6)]
    return ArmRecord(
        name=name,
        scheme=scheme,
        guard="support k=3" if "guard" in name else None,
        dp=made_dp() if name == "dp" else None,
        rounds=0 if scheme is None else (3 if warm else 24),
        parameters=0 if scheme is None else (50_000 if name == "paillier" else 1_686_920),
        seeds=(0,),
        warm_start="masking, last 3 rounds" if warm else None,
        forbidden=name == "pooled",
        performance=PerformanceRecord(
            metric="R2",
            mean=mean,
            ci_low=mean - half,
            ci_high=mean + half,
            n_tasks=146,
            n_compounds=7310,
            delta_vs_standalone=delta,
            delta_ci_low=None if delta is None else delta - 0.014,
            delta_ci_high=None if delta is None else delta + 0.014,
            tasks_better=better,
            per_partner={p: mean - 0.02 * i for i, p in enumerate(partners)},
            curve=() if name == "single-task" else curve,
            best_round=None if name == "single-task" else len(curve) - 1,
        ),
        cost=CostRecord(
            setup_seconds=0.02 if scheme else 0.0,
            client_seconds=seconds,
            server_seconds=seconds / 3,
            bytes_up_per_parameter=up,
            bytes_down_per_parameter=4.0 if up else 0.0,
            peak_rss_mb=1900.0,
            training_seconds=41.0,
            wall_seconds=44.0 + 10 * seconds,
        ),
        max_abs_aggregate_error=(2.1e-9 if name == "ckks" else 2.8e-5) if scheme and name != "plaintext" else None,
        quantization_bound=3.05e-5 if scheme and name != "plaintext" else None,
        clipped=0 if scheme else None,
        withheld_bits=212 if "guard" in name else None,
        notes=("last 3 rounds from masking's checkpoint",) if warm else (),
    )


def made_dp() -> DpRecord:
    """Return an invented privacy budget."""
    return DpRecord(
        unit="record",
        epsilon=7.94,
        delta=1e-5,
        noise_multiplier=0.83,
        accountant="PLD (connect the dots)",
        clipping_norm=1.0,
        sampling_rate=0.021,
        steps=384,
        neighbouring="add or remove one record",
        partner="partner-5",
    )


def counted(name: str, view: View, arm: str, release: str, k: int, n: int, **more: object) -> AttackRecord:
    """Return an attack that got k of n."""
    low, high = clopper_pearson(k, n)
    content = {"metric": "exact", "asset": "structure", "chance": 0.0, "compounds": n, "bits": 32768, "optimiser": "sgd"} | more
    base = {"name": name, "view": view, "arm": arm, "release": release, "status": "run", "seconds": 3.1}
    return AttackRecord.model_validate(base | content | {"value": k / n, "k": k, "n": n, "ci_low": low, "ci_high": high})


def _structure(arm: str) -> list[AttackRecord]:
    """Fingerprints, union and labels from first-layer updates."""
    guarded = "guard" in arm
    noised = arm == "dp"
    found = []
    settings: tuple[tuple[View, int, int], ...] = (("V1", 80, 36), ("V2", 120, 44), ("V3", 64, 40))
    for view, n, k in settings:
        got = 0 if guarded or noised else k
        scramble = "scrambled" if view == "V2" else "clear"
        for release, seen in (("exposed", got), ("as-run", 0)):
            size = n if release == "exposed" else 150
            found.append(counted("fingerprint_recovery", view, arm, release, seen, size, coordinates=scramble))
        rare = 0 if guarded else (210 if noised else 400)
        found.append(
            counted("union_of_bits", view, arm, "exposed", rare, 400, metric="single_compound_recall", asset="substructure",
                    chance=0.5 if noised else 0.0, coordinates=scramble)
        )  # fmt: skip
        right = n // 2 + (n // 3 if got else 1)
        found.append(counted("label_inference", view, arm, "exposed", right, n, metric="accuracy", asset="label", chance=0.5))
    return found


def _membership(arm: str) -> list[AttackRecord]:
    """Membership in the auditor's view."""
    gain = {"dp": 0.004, "standalone": 0.12}.get(arm, 0.075)
    found = []
    for name, more in (("membership_loss", 0.0), ("membership_rmia", 0.025)):
        auc = 0.5 + gain + more
        for whose in ("partner", "consortium"):
            found.append(
                AttackRecord(
                    name=name, view="V4", arm=arm, release="model", status="run", metric="auc", value=auc, n=4200,
                    ci_low=auc - 0.018, ci_high=auc + 0.018, chance=0.5, min_certifiable_fpr=1 / 730, asset="membership",
                    member_of=whose, compounds=4200, seconds=11.0,
                )
            )  # fmt: skip
        k = round(3470 * (0.01 + gain / 6))
        found.append(
            counted(name, "V4", arm, "model", k, 3470, metric="tpr_at_fpr_1pct", chance=0.01, asset="membership",
                    min_certifiable_fpr=1 / 730, member_of="partner", bits=4096)
        )  # fmt: skip
    return found


def made_audit(arm: str) -> AuditRecord:
    """Return an invented audit of an arm."""
    attacks: list[AttackRecord] = []
    if arm in FEDERATED or arm not in _ARMS:
        attacks += _structure(arm)
        attacks.append(
            AttackRecord(name="trap weights", view="V5", arm=arm, release="as-run", status="refused",
                         reason="the client refuses a first layer whose hash is not the roster's")
        )  # fmt: skip
        attacks.append(
            AttackRecord(name="collusion of all but one", view="V2c", arm=arm, release="as-run", status="not_run",
                         reason="comes with the attack suite of a later version")
        )  # fmt: skip
    if arm != "single-task":
        attacks += _membership(arm)
    controls = [
        ControlRecord(name="blind_membership", arm=None, held=True, metric="auc", value=0.504, ci_low=0.486, ci_high=0.522,
                      expected="interval contains 0.5", because="0.486 to 0.522 contains 0.5", views=("V4",)),
    ]  # fmt: skip
    if arm == "plaintext":
        low, high = clopper_pearson(40, 64)
        controls.append(
            ControlRecord(name="exposed_recovery", arm=arm, held=True, metric="exact", value=40 / 64,
                          ci_low=low, ci_high=high, expected="more than 0", because="40 of 64 recovered",
                          views=("V1", "V2", "V3"))
        )  # fmt: skip
    return AuditRecord(attacks=tuple(attacks), controls=tuple(controls))


def made_run_record(config: RunConfig, *, partner: str = "partner") -> RunRecord:
    """Return an invented run.json."""
    sizes = ((9120, 41, 14200), (8010, 38, 12011), (6230, 33, 9800), (5400, 28, 7900), (150, 6, 181))
    return RunRecord(
        toolkit=ToolkitRecord(
            version="0.1.0", commit="0123456789abcdef0123456789abcdef01234567", python="3.11.2",
            platform="Linux x86_64, 2 cores",
            packages={"numpy": "2.4.6", "torch": "2.13.0", "rdkit": "2026.3.3", "tenseal": "0.3.16", "opacus": "1.6.0"},
        ),
        config=config.model_dump(mode="json"),
        config_sha256=config.sha256,
        data=DataRecord(
            name="Invented data (test)", sha256="ab" * 32, licence="CC BY-SA 3.0 (ChEMBL)",
            citation="Nobody et al., Journal of Invented Results 1, 2 (2000)",
            compounds=27041, tasks=146, activities=44092, rejects=17,
            folds={"train": 19000, "validation": 2100, "test": 3200, "audit": 2741}, bits=4096,
        ),
        partners=tuple(
            PartnerRecord(name=f"{partner}-{i}", compounds=c, tasks=t, activities=a) for i, (c, t, a) in enumerate(sizes, 1)
        ),
    )  # fmt: skip


def write_run(run: Path, *, arms: tuple[str, ...] = tuple(_ARMS), audited: bool = True, partner: str = "partner") -> Path:
    """Write an invented run into a folder and return it."""
    write_record(made_run_record(RunConfig(), partner=partner), run / "run.json")
    for number, name in enumerate(arms):
        folder = name if name in _ARMS else f"other-{number}"
        write_record(made_arm(name), run / "arms" / folder / "record.json")
        if audited:
            write_record(made_audit(name), run / "attacks" / f"{folder}.json")
    stages = {"prepare": 31.0, "baselines": 118.0, "arms": 262.0, "attacks": 97.0}
    write_record(TimingRecord(wall_seconds=stages, peak_rss_mb=2310.0), run / "timing.json")
    return run


def add_everything(run: Path) -> None:
    """Give the records all that pictures and tables can show."""
    path = run / "arms" / "masking" / "record.json"
    arm, span = read_record(ArmRecord, path), IntervalRecord(mean=0.4, low=0.3, high=0.5)
    near = SimilarityBinRecord(metric="RMSE", kind="regression", low=0.2, high=0.4, n_cells=90, n_compounds=70, value=span,
                               delta=span)  # fmt: skip
    few = SubgroupRecord(group="training values of the task", metric="R2", low=50, high=100, n_tasks=4, value=span, delta=span)
    sure = ConformalRecord(
        kind="regression", on="unannotated", error_rate=0.1, n_tasks=9, n_pairs=900, efficiency=span, delta=span
    )
    metric = ReleasedMetricRecord(
        metric="R2", kind="regression", of="delta", higher_is_better=True, released=True, partners=5, tasks=9,
        edges=(-1.0, 0.0, 1.0), counts=(3, 6),
    )  # fmt: skip
    shared = ConsortiumRecord(scheme="masking", min_partners=3, min_tasks=5, error_bound=1e-6, metrics=(metric,), ledger=())
    evaluation = EvaluationRecord(similarity=(near,), conformal=(sure,), subgroups=(few,))
    write_record(arm.model_copy(update={"evaluation": evaluation, "consortium": shared}), path)
    dp = read_record(ArmRecord, run / "arms" / "dp" / "record.json")
    assert dp.dp is not None
    strict = dp.model_copy(update={"name": "dp=1", "dp": dp.dp.model_copy(update={"epsilon": 0.98})})
    write_record(strict, run / "arms" / "dp=1" / "record.json")
    points = tuple(RocPointRecord(fpr=x, tpr=min(1.0, 2 * x), low=x, high=min(1.0, 3 * x)) for x in (0.002, 0.01, 0.1, 1.0))
    audit = read_record(AuditRecord, run / "attacks" / "masking.json")
    attacks = tuple(a.model_copy(update={"roc": points}) if a.metric == "auc" else a for a in audit.attacks)
    played = ConformanceRecord(
        name="mask_reuse", view="V5", arm="masking", scheme="masking", outcome="refused", reason="round number was used before",
        broken_variant="tests/attacks/test_masks.py::test_masks_that_forget_the_round_are_reused",
    )  # fmt: skip
    write_record(audit.model_copy(update={"attacks": attacks, "conformance": (played,)}), run / "attacks" / "masking.json")
    steps = [
        {"parameter": "guard.k", "from": "0", "to": "3", "delta_leak": -0.41, "delta_performance": -0.004, "n": 3,
         "intervals": {"delta_leak": [-0.5, -0.3], "delta_performance": [-0.02, 0.01]}},
    ]  # fmt: skip
    levels = [{"parameter": "guard.k", "value": k, "leak": {"mean": m, "low": m / 2, "high": 2 * m}, "arm": "masking"}
              for k, m in (("0", 0.4), ("3", 0.02))]  # fmt: skip
    sweep = {"options": steps, "points": levels, "leak": "exact_recovery", "performance": "R2"}
    write_record(SweepRecord.model_validate(sweep), run / "sweep" / "options.json")
