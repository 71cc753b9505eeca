"""``securefl dp``: what differential privacy would cost, and what a partner has spent."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from securefl.chem.folder import load
from securefl.cli.dp_audit import audit
from securefl.cli.output import emit_json, emit_table
from securefl.config import load_config
from securefl.dp.composition import composed
from securefl.dp.distributed import SumTerms
from securefl.dp.forecast import Forecast, RecordTerms, partner_forecast, record_forecast
from securefl.dp.ledger import LedgerState, kind_of, read_ledger, release_json
from securefl.errors import InputError, VerificationError
from securefl.evaluation.spending import begin_ledgers
from securefl.secagg.policy import Policy

app = typer.Typer(
    help="Plan privacy budgets; verify a partner's ledger; bound epsilon from an audit's counts.", no_args_is_help=True
)
PARAMETERS = 1_686_920
"""Of the default model: 4,096 bits, hidden layers of 400 and 120."""
app.command("audit")(audit)


@app.callback()
def dp() -> None:
    """Plan privacy budgets; verify a partner's ledger; bound epsilon from an audit's counts."""


@app.command("plan")
def plan(
    epsilon: Annotated[float, typer.Option(help="The budget.")],
    delta: Annotated[float, typer.Option(help="At most 1e-5, and 1 / (10 compounds) at record level.")] = 1e-6,
    compounds: Annotated[int | None, typer.Option(help="Record level: training compounds of the partner.")] = None,
    batch: Annotated[int, typer.Option(help="Record level: expected compounds in a step.")] = 1024,
    epochs: Annotated[int, typer.Option(help="Record level: how often each compound is drawn on average.")] = 8,
    partners: Annotated[int | None, typer.Option(help="Partner level: how many sum their updates.")] = None,
    rounds: Annotated[int, typer.Option(help="Partner level: opened sums.")] = 8,
    parameters: Annotated[int, typer.Option(help="Trained (record level) or summed (partner level) parameters.")] = PARAMETERS,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False,
) -> None:
    """Say the noise, the steps and the expected error of a budget, with warnings.

    Examples:

      securefl dp plan --epsilon 3 --delta 1e-6 --compounds 8000 --batch 512 --epochs 20

      securefl dp plan --epsilon 8 --delta 1e-6 --partners 6 --rounds 8
    """
    if (compounds is None) == (partners is None):
        raise InputError("give --compounds for record level or --partners for partner level, one of them")
    if compounds is not None:
        terms = RecordTerms(compounds=compounds, batch=batch, epochs=epochs, parameters=parameters)
        found = record_forecast(terms, epsilon=epsilon, delta=delta)
    else:
        policy = Policy.smallest(partners or 0)
        sums = SumTerms(
            parties=policy.parties,
            contributors=policy.required - policy.colluders,
            length=parameters,
            clipping_norm=1.0,
        )
        found = partner_forecast(sums, epsilon=epsilon, delta=delta, rounds=rounds)
    if as_json:
        emit_json(asdict(found))
        return
    emit_table(f"Differential privacy, {found.unit} level", [_shown(found)])
    for warning in found.warnings:
        typer.echo(f"warning: {warning}")


def _shown(found: Forecast) -> dict[str, object]:
    return {
        "protects": found.neighbouring,
        "epsilon, upper bound": found.epsilon,
        "epsilon, lower bound": found.epsilon_lower,
        "delta": found.delta,
        "accountant": found.accountant,
        "noise multiplier (clipping norms)": found.noise_multiplier,
        "steps": found.steps,
        "sampling rate": found.sampling_rate,
        "expected error of a coordinate of the mean (clipping norms)": found.noise_per_coordinate,
        "expected error of a step (times the largest mean)": found.noise_share,
        "expected error of all steps' average": found.noise_share_all,
        "membership: most true positives at 0.1 % false ones": found.membership_bound,
    }


@app.command("begin")
def begin(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="The config of the runs on private data.")],
    data: Annotated[Path, typer.Option("--data", help="Their dataset folder.")],
) -> None:
    """Begin every partner's ledger in dp.ledgers, once, with dp.total_epsilon: runs on private data refuse to do it.

    Example:

      securefl dp begin run.toml --data data/ours
    """
    for path in begin_ledgers(load(data), load_config(config_file)):
        typer.echo(f"begun: {path.resolve()}")


@app.command("ledger")
def ledger(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A partner's ledger, partner-N.jsonl.")],
    last_hash: Annotated[str | None, typer.Option("--last-hash", help="The published end of the chain (hex).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False,
) -> None:
    """Verify a ledger's chain and say what was spent on what, and what is left (exit 5 if the chain is broken).

    Example:

      securefl dp ledger runs/demo/arms/dp/seed-0/ledgers/partner-1.jsonl
    """
    state = read_ledger(path)
    if last_hash is not None and last_hash.lower() != state.last_hash.hex():
        raise VerificationError(f"ledger {path} ends with {state.last_hash.hex()[:16]}, not {last_hash[:16]}")
    if as_json:
        emit_json(_content(state))
        return
    budget, spent = state.budget, state.spent
    emit_table(f"Ledger of {budget.partner}", _entries(state))
    typer.echo(f"protects: {budget.neighbouring}")
    typer.echo(f"spent: epsilon <= {spent.upper:.4g} at delta = {budget.delta:g} ({spent.accountant})")
    typer.echo(f"budget: epsilon {budget.epsilon:g}, so at least {max(0.0, budget.epsilon - spent.upper):.4g} is left")
    typer.echo(f"chain holds; it ends with {state.last_hash.hex()}")


def _entries(state: LedgerState) -> list[dict[str, object]]:
    """Return a row for each release: what it was, and what everything up to it costs."""
    rows: list[dict[str, object]] = []
    for number, release in enumerate(state.releases, start=1):
        until = composed([one.mechanism for one in state.releases[:number]], delta=state.budget.delta)
        rows.append(
            {
                "release": number,
                "what": release.what,
                "arm": release.arm,
                "data": release.data[:12],
                "mechanism": kind_of(release.mechanism),
                "noise": getattr(release.mechanism, "noise_multiplier", None),
                "clip": release.clipping_norm,
                "epsilon until here": until.upper,
            }
        )
    return rows


def _content(state: LedgerState) -> dict[str, object]:
    spent, budget = state.spent.upper, state.budget
    return {
        "partner": budget.partner,
        "unit": budget.unit,
        "neighbouring": budget.neighbouring,
        "delta": budget.delta,
        # JSON has no infinity: null is one that nothing bounds.
        "budget_epsilon": budget.epsilon if isfinite(budget.epsilon) else None,
        "spent_epsilon": spent if isfinite(spent) else None,
        "accountant": state.spent.accountant,
        "last_hash": state.last_hash.hex(),
        "releases": [release_json(release) for release in state.releases],
    }
