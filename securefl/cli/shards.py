"""``securefl data shards``: one partner's training records as shards that are streamed from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from securefl.chem.dataset import Fold
from securefl.chem.folder import load
from securefl.cli.progress import progress_bar
from securefl.learning.shard_writer import SHARD_RECORDS, write_shards
from securefl.learning.shards import open_shards


def shards(
    data: Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write: new.")],
    partner: Annotated[str, typer.Option("--partner", help="Whose part; may be left out if there is one partner.")] = "",
    records: Annotated[int, typer.Option("--records", help="Records in a shard: many times the batch.", min=1)] = SHARD_RECORDS,
    seed: Annotated[int, typer.Option("--seed", help="Shuffles the records before they are divided.", min=0)] = 0,
) -> None:
    """Write one partner's training records as memory-mapped shards, for ``securefl train``. They hold its data in the clear.

    Example:

      securefl data shards data/ours --partner partner-1 --out shards/ours
    """
    dataset = load(data)
    number = dataset.partner_number(partner)
    with progress_bar() as progress:
        write_shards(dataset, number, out, fold=Fold.TRAIN, records=records, seed=seed, progress=progress)
        written = open_shards(out, progress)
    name, count, size = dataset.partners[number], len(written.manifest.shards), written.size
    typer.echo(f"{out.resolve()}: {len(written)} records, {written.cells} cells of {name} in {count} shards, {size} bytes")
