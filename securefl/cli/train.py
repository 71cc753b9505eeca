"""``securefl train``: one owner trains a model alone, from shards on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefl.cli.progress import progress_bar
from securefl.config import RunConfig, load_config
from securefl.errors import InputError
from securefl.learning.local import bf16_products, keep_freed_memory, limit_threads
from securefl.learning.shards import open_shards
from securefl.learning.streaming import fit


def train(
    folder: Annotated[Path, typer.Argument(metavar="SHARDS", help="A folder that 'securefl data shards' wrote.")],
    out: Annotated[Path, typer.Option("--out", help="The model's folder: new.")],
    epochs: Annotated[int, typer.Option("--epochs", help="Epochs, or units of federation.local_steps steps.", min=1)] = 20,
    config: Annotated[Path | None, typer.Option("--config", help="TOML; its sections model and federation are read.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides weights, order and dropout.", min=0)] = 0,
    threads: Annotated[int, typer.Option("--threads", help="Threads to compute with.", min=1)] = 1,
    bf16: Annotated[bool, typer.Option("--bf16", help="Round products to bfloat16 where the machine multiplies it.")] = False,
    device: Annotated[str, typer.Option("--device", help="'cpu' or 'cuda'.")] = "cpu",
) -> None:
    """Train alone, one shard in memory at a time; a missing or changed shard is refused before the first step.

    Example:

      securefl train shards/ours --out models/ours --epochs 20

      securefl predict models/ours new.csv --out scores.csv
    """
    settings = RunConfig() if config is None else load_config(config)
    if out.exists():
        raise InputError(f"{out} is there already: choose a new folder")
    limit_threads(threads)
    keep_freed_memory()
    if bf16 and not bf16_products(True):
        typer.echo("securefl: this machine multiplies no bfloat16: products stay in float32", err=True)
    with progress_bar() as progress:
        fitted = fit(
            open_shards(folder, progress),
            model=settings.model,
            training=settings.federation,
            epochs=epochs,
            seed=seed,
            device=device,
            progress=progress,
        )
    fitted.owned.save(out)
    typer.echo(
        f"{out.resolve()}: training loss a record {fitted.losses[0]:.4f} after the first epoch, {fitted.losses[-1]:.4f} last"
    )
