"""``securefl aggregate``: one round of one protocol on made-up updates, measured."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer

from securefl.cli.output import emit_json, emit_table
from securefl.cli.timing import peak_rss_mb
from securefl.errors import ParameterError
from securefl.recipes import traits_of
from securefl.secagg import RoundResult
from securefl.secagg import aggregate as aggregate_round
from securefl.secagg.paillier_sum import Decryption, PaillierOptions, shipped_options
from securefl.types import ClientId, FloatVector, SystemRng

UPDATE_SCALE = 0.05
"""Standard deviation of the made-up updates: that of a trunk's first rounds."""


def aggregate(
    scheme: Annotated[str, typer.Option("--scheme", help="The protocol; an unknown name lists them.")],
    clients: Annotated[int, typer.Option("--clients", help="Number of clients.", min=1)] = 5,
    dim: Annotated[int, typer.Option("--dim", help="Length of each update.", min=1)] = 100_000,
    drop: Annotated[int, typer.Option("--drop", help="How many clients drop out.", min=0)] = 0,
    phase: Annotated[str | None, typer.Option("--phase", help="Before which message; the last upload if left out.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the updates (never of keys or masks).")] = 0,
    single_decryptor: Annotated[
        bool, typer.Option("--single-decryptor", help="Paillier: one party holds the whole key, instead of t of n partners.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print for a program.")] = False,
) -> None:
    """Run one whole round in this process and print its error, its bound, and its cost.

    Seconds are CPU seconds of the median client over the whole round; keys made once a run are apart in setup_seconds.

    Examples:

      securefl aggregate --scheme masking --clients 10 --dim 1000000 --drop 3 --phase masked_input --json

      securefl aggregate --scheme ckks --clients 3 --dim 100000

      securefl aggregate --scheme paillier --clients 3 --dim 1000
    """
    traits_of(scheme)
    if drop >= clients:
        raise ParameterError(f"drop={drop} must be < clients={clients}")
    generator = np.random.default_rng(seed)
    updates: dict[ClientId, FloatVector] = {
        ClientId(i + 1): generator.normal(0.0, UPDATE_SCALE, dim).astype(np.float32) for i in range(clients)
    }
    dropouts = {ClientId(clients - i): phase for i in range(drop)}
    options = options_for(scheme, single_decryptor=single_decryptor)
    result = aggregate_round(scheme, updates, rng=SystemRng(), dropouts=dropouts, options=options)
    row = measured(result, dim)
    content = {"scheme": scheme, "clients": clients, "dim": dim, "dropped": drop, **row}
    for warning in result.warnings:
        typer.echo(f"warning: {warning}", err=True)
    emit_json(content) if as_json else emit_table("One round", [content])


def options_for(scheme: str, *, single_decryptor: bool) -> PaillierOptions | None:
    """Return the options of ``scheme``: Paillier takes a key that ships with the package, so that no dealer is waited for.

    Raises:
        ParameterError: a single decryptor is asked of a scheme without that choice.
    """
    if scheme != "paillier":
        if single_decryptor:
            raise ParameterError(f"scheme={scheme!r} has no choice of decryptor: --single-decryptor is Paillier's")
        return None
    return PaillierOptions(decryption=Decryption.SINGLE) if single_decryptor else shipped_options()


def measured(result: RoundResult, dim: int) -> dict[str, float]:
    """Return what a round cost, as the figures that the benchmarks print."""
    cost = result.cost
    return {
        "survivors": len(result.survivors),
        "max_abs_error": result.max_abs_error,
        "quantization_bound": result.quantization_bound,
        "clipped": result.clipped,
        "setup_seconds": cost.setup_seconds,
        "client_seconds": cost.client_seconds,
        "server_seconds": cost.server_seconds,
        "decryptor_seconds": cost.decryptor_seconds,
        "key_seconds": cost.key_seconds,
        "bytes_up_per_client": cost.bytes_up_per_client,
        "bytes_down_per_client": cost.bytes_down_per_client,
        "bytes_up_per_parameter": cost.bytes_up_per_client / dim,
        "peak_rss_mb": peak_rss_mb(),
    }
