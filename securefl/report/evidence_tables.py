"""Tables of what the verdicts rest on: the questions asked, protocols, openings, privacy budgets, sweeps, prices, inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from securefl.evidence import OptionRecord, ProtocolRecord
from securefl.records import ArmRecord, AttackRecord, DpRecord, ReportRecord
from securefl.report.conformance import ONE_KEY, decryptor_of
from securefl.report.numbers import DASH, count, decimal, key, leak_title, money, seconds, setting, signed, small, title
from securefl.report.prices import HOUR
from securefl.report.tables import Cell, Table, arm_cell, number, text
from securefl.report.verdicts import Finding, Judged, options
from securefl.report.words import Question, words

_OPENERS = {
    "open": ("the operator", "every upload comes in the clear"),
    "none": ("nobody", "no decryption key exists"),
    "single": ("one party alone", "it could open every partner's update"),
    "threshold": ("a threshold of the partners", "together, and nobody else"),
}


def question_table(report: ReportRecord, judged: Sequence[Judged]) -> Table:
    """Return the questions that are asked, the views that answer each, and what came of them."""
    rows = []
    for question in words().questions:
        views = [v for v in report.verdicts if v.view in question.views]
        mine = [one for one in judged if _fits(one.attack, question)]
        told = ", ".join(f"{v.view} {v.verdict}" for v in views) or "; ".join([*_counted(mine), question.where])
        rows.append((
            text(question.ask, question.note, kind="plain"),
            text(", ".join(question.views) or DASH),
            text(told),
            text(_passing(report, question.views) if views else DASH),
            number(len(mine), count(len(mine))) if views or mine else text(DASH),
        ))  # fmt: skip
    heads = ("What is asked", "Views", "Verdict, worst option", "Options that pass there", "#Results")
    return Table(name="questions", caption="The questions, and the views that answer them", heads=heads, rows=tuple(rows),
                 sortable=False)  # fmt: skip


def _counted(judged: Sequence[Judged]) -> list[str]:
    """Return how many of some results are above their limit, where there are any."""
    above = sum(one.finding is Finding.ABOVE for one in judged)
    open_ = sum(one.finding not in (Finding.ABOVE, Finding.WITHIN) for one in judged)
    return [f"{above} of {len(judged)} results above a limit, {open_} not settled"] if judged else []


def _passing(report: ReportRecord, views: Sequence[str]) -> str:
    choice = options(report.arms)
    passed = {(v.arm, str(v.view)) for v in report.arm_verdicts if v.verdict == "pass"}
    return ", ".join(arm for arm in choice if all((arm, view) in passed for view in views)) or "none"


def _fits(attack: AttackRecord, question: Question) -> bool:
    return attack.view in question.views or key(attack.name).startswith(tuple(map(key, question.attacks)))


def protocols_table(report: ReportRecord) -> Table:
    """Return the cryptographic conformance of every arm that left a transcript."""
    rows, brought = [], {arm.name for arm in report.arms if arm.plugin is not None}
    for shown in report.protocols:
        who, what = _OPENERS[shown.decryptor]
        what = "by its package's own word" if shown.arm in brought else what
        broken = len(shown.violations)
        rows.append((
            text(shown.arm, shown.wire_id),
            text("; ".join(shown.suite)),
            text(who, what, kind="alarm" if shown.decryptor in ("open", "single") else ""),
            text(f"{shown.threshold} of {shown.parties}" if shown.threshold else f"{shown.parties} partners", _policy(shown)),
            number(shown.messages, count(shown.messages), f"{count(shown.rounds)} rounds, {count(shown.bytes)} bytes"),
            text("signed" if shown.signed else "not signed", "" if shown.signed else "the chain alone was checked"),
            text("held" if not broken else f"{broken} broken", shown.violations[0] if broken else shown.last_hash[:16],
                 badge="pass" if not broken else "fail"),
        ))  # fmt: skip
    heads = ("Arm", "Suite and key sizes", "Who can open an upload", "Threshold", "#Messages", "Envelopes", "Replayed")
    return Table(name="protocols", caption="Cryptographic conformance, from the transcripts", heads=heads, rows=tuple(rows))


def deviations_table(report: ReportRecord) -> Table:
    """Return every deviation from the protocol that was played: what our scheme did, and where the same one succeeds."""
    rows = tuple(
        (
            text(title(one.name), one.broken_variant.rsplit("::", 1)[-1].replace("_", " "), kind="plain"),
            text(one.view),
            text(one.arm, one.scheme),
            text(one.outcome, badge="fail" if one.outcome == "succeeded" else "pass"),
            text(one.reason),
        )
        for one in report.conformance
    )
    heads = ("Deviation, and the test in which it succeeds without the defence", "View", "Arm", "Outcome here", "Reason")
    return Table(name="deviations", caption="Deviations from the protocol that were played", heads=heads, rows=rows)


def _policy(shown: ProtocolRecord) -> str:
    if shown.required is None:
        return "no roster in the transcript"
    return f"{shown.required} must survive, {shown.colluders} may collude"


def openings_table(report: ReportRecord) -> Table:
    """Return the differencing ledger: every sum that was opened, and what all of them say together."""
    metrics = {arm.name: arm.consortium.ledger for arm in report.arms if arm.consortium is not None}
    same = "always the same partners"
    rows = []
    for shown in report.protocols:
        asked = metrics.get(shown.arm, ())
        exposed = f"{shown.smallest} partners" if shown.smallest else "none found"
        rows.append((
            text(shown.arm),
            number(shown.openings, count(shown.openings), same if shown.cohorts == 1 else f"{shown.cohorts} different cohorts"),
            number(shown.dropouts, count(shown.dropouts)),
            number(shown.rank, count(shown.rank)),
            number(shown.smallest, exposed, "the sum of fewer would be exposed" if _few(shown) else "", kind=_alarm(shown)),
            number(len(asked), count(len(asked)), f"{count(sum(line.numbers for line in asked))} numbers opened"),
        ))  # fmt: skip
    heads = ("Arm", "#Sums of updates opened", "#Dropouts", "#Independent sums", "#Smallest group exposed", "#Sums of metrics")
    caption = "Ledger of releases: what all openings together would show if every round's inputs were the same"
    return Table(name="openings", caption=caption, heads=heads, rows=tuple(rows))


def _few(shown: ProtocolRecord) -> bool:
    return shown.smallest is not None and shown.required is not None and shown.smallest < shown.required


def _alarm(shown: ProtocolRecord) -> str:
    return "alarm" if _few(shown) else ""


def privacy_table(arms: Iterable[ArmRecord], attacks: Sequence[AttackRecord]) -> Table:
    """Return the differential privacy of each arm: spent, its unit, and what an audit with canaries proved from below."""
    listed = list(arms)
    rows: list[tuple[Cell, ...]] = []
    for arm in listed:
        spent = arm.dp
        if spent is None:
            continue
        rows.append((
            arm_cell(arm),
            _spent(spent),
            *_audited(arm.name, attacks),
            text(spent.unit, spent.neighbouring),
            number(spent.noise_multiplier, decimal(spent.noise_multiplier, 3), f"clipping norm {small(spent.clipping_norm)}"),
            number(spent.steps, count(spent.steps), f"sampling rate {small(spent.sampling_rate)}"),
            text(spent.accountant, f"largest ε: {spent.partner}" if spent.partner else "largest ε of all partners"),
        ))  # fmt: skip
    without = [arm.name for arm in listed if arm.dp is None]
    if without:
        rows.append((text(", ".join(without)), text("none", "ε is infinite"), *(text("") for _ in range(6))))
    heads = ("Arm", "#Spent (upper bound)", "#Audited lower bound", "#Most it could prove", "Unit protected",
             "#Noise multiplier", "#Steps", "Accountant")  # fmt: skip
    return Table(name="dp", caption="Differential privacy by arm", heads=heads, rows=tuple(rows), sortable=False)


def _spent(spent: DpRecord) -> Cell:
    """Return epsilon with its delta, and under it the least that any accountant can claim for this mechanism."""
    if spent.epsilon is None:
        return text("ε = ∞", "clipped alike, no noise, no guarantee")
    lower = "" if spent.epsilon_lower is None else f", no accountant can claim under {decimal(spent.epsilon_lower)}"
    return number(spent.epsilon, f"ε = {decimal(spent.epsilon)}", f"δ = {small(spent.delta)}{lower}")


def _audited(arm: str, attacks: Sequence[AttackRecord]) -> tuple[Cell, Cell]:
    """Return the largest audited lower bound on an arm's epsilon, and the ceiling that its canaries put on any bound."""
    found = [a for a in attacks if a.arm == arm and key(a.metric or "").startswith("epsilon") and a.value is not None]
    if not found:
        return text("not audited"), text("")
    best = max(found, key=lambda attack: attack.value or 0.0)
    ceiling = next((value for name, value in best.detail.items() if "ceiling" in name), None)
    shown = number(best.value, f"ε ≥ {decimal(best.value)}", f"{title(best.name)}, n = {count(best.n)}")
    return shown, number(ceiling, decimal(ceiling), "of these canaries")


def sweep_table(report: ReportRecord) -> Table:
    """Return what moves when a parameter moves: from the sweep's records alone."""
    if report.sweep is None:
        return Table(name="sweep", caption="", heads=(), rows=())
    rows = tuple(_step(option, report.sweep.leak) for option in report.sweep.options)
    reach = title(report.sweep.performance) or "performance"
    heads = ("If you move", "From", "To", "Arm there", "Leak", "#Leak changes by", f"#{reach} changes by", "#Seeds")
    return Table(name="sweep", caption="Options: what each move does to leak and to performance, with 95 % intervals",
                 heads=heads, rows=rows)  # fmt: skip


def _step(option: OptionRecord, leak: str) -> tuple[Cell, ...]:
    """Return a step's row; ``leak`` is what a sweep over a single leak calls it."""
    return (
        text(option.parameter),
        text(setting(option.origin)),
        text(setting(option.target)),
        text(option.arm or "all"),
        text(leak_title(option.leak or leak) or "leak", kind="plain"),
        _change(option, "delta_leak", option.delta_leak),
        _change(option, "delta_performance", option.delta_performance),
        number(option.n, count(option.n)),
    )


def _change(option: OptionRecord, name: str, value: float) -> Cell:
    span = option.intervals.get(name)
    if span is None:
        return number(value, signed(value, 3), "no interval")
    noise = span[0] <= 0 <= span[1]
    told = f"{signed(span[0], 3)}\u00a0to\u00a0{signed(span[1], 3)}"
    return number(value, signed(value, 3), f"{told}, may be noise" if noise else told)


def _decryptors(hours: float) -> Cell:
    return number(hours, seconds(hours * HOUR) if hours else "no decryptor", "of one core" if hours else "")


def estimates_table(report: ReportRecord) -> Table:
    """Return cost at the price list's scale, an extrapolation."""
    if report.prices is None:
        return Table(name="estimates", caption="", heads=(), rows=())
    unit = report.prices.currency
    limit = report.prices.scale.limit_days
    rows = tuple(
        (
            text(each.arm),
            number(each.training_hours, f"{count(each.training_hours)} h", "of one core"),
            number(each.protocol_hours, seconds(each.protocol_hours * HOUR), "of one core"),
            number(each.operator_hours, seconds(each.operator_hours * HOUR), "of one core"),
            _decryptors(each.decryptor_hours),
            number(each.gigabytes_sent, decimal(each.gigabytes_sent, 1), f"{decimal(each.gigabytes_received, 1)} received"),
            number(each.money_partner, money(each.money_partner, unit)),
            number(each.money_consortium, money(each.money_consortium, unit)),
            number(each.days, decimal(each.days, 1), "within the limit" if each.fits else f"over {decimal(limit, 0)} days",
                   kind="" if each.fits else "alarm"),
        )
        for each in report.estimates
    )  # fmt: skip
    heads = ("Arm", "#Training of a partner", "#Protocol of a partner", "#Operator", "#All decryptors", "#GB sent by a partner",
             "#Money of a partner", "#Money of all", "#Days")  # fmt: skip
    return Table(name="estimates", caption="Cost of a whole run at the stated scale: extrapolated, not measured", heads=heads,
                 rows=rows)  # fmt: skip


def grid_table(report: ReportRecord) -> Table:
    """Return what each protocol costs at the price list's scale by a grid that was measured elsewhere; said in every row."""
    if report.grid is None or report.prices is None:
        return Table(name="grid", caption="", heads=(), rows=())
    unit = report.prices.currency
    rows = tuple(
        (
            text(line.scheme, _used_by(report.arms, line.scheme)),
            number(line.parameters, f"{count(line.parameters)} parameters, {line.partners} partners",
                   f"elsewhere, on {line.cpu}, load {decimal(line.load, 1)}"),
            number(line.client_seconds, seconds(line.client_seconds), f"{decimal(line.bytes_up_per_parameter, 1)} bytes each"),
            number(line.protocol_hours, seconds(line.protocol_hours * HOUR)),
            number(line.operator_hours, seconds(line.operator_hours * HOUR)),
            _decryptors(line.decryptor_hours),
            number(line.gigabytes_sent, decimal(line.gigabytes_sent, 1), f"{decimal(line.gigabytes_received, 1)} received"),
            number(line.money_partner, money(line.money_partner, unit)),
        )
        for line in report.grid.lines
    )  # fmt: skip
    heads = ("Protocol", "#Measured elsewhere, on", "#A partner, a round there", "#A partner, whole run", "#Operator",
             "#All decryptors", "#GB sent by a partner", "#Money of a partner")  # fmt: skip
    caption = "The protocols alone, measured elsewhere and extrapolated to the stated scale; seconds are of one core"
    return Table(name="grid", caption=caption, heads=heads, rows=rows)


def _used_by(arms: Sequence[ArmRecord], scheme: str) -> str:
    """Return which arms of the run have a scheme of the grid: there a single decryptor's line has that in its name."""
    single = ONE_KEY in scheme
    used = [
        arm.name
        for arm in arms
        if arm.scheme == scheme.split(" ")[0] and (arm.scheme != "paillier" or (decryptor_of(arm) == "single") == single)
    ]
    return ", ".join(used) or "no arm of this run"


def inputs_table(report: ReportRecord) -> Table:
    """Return every file that the report rests on, with its hash."""
    rows = tuple((text(one.name), number(one.size, count(one.size)), text(one.sha256, kind="mono")) for one in report.inputs)
    return Table(name="inputs", caption="Inputs by SHA-256", heads=("File", "#Bytes", "SHA-256"), rows=rows)
