"""What each protocol costs where the grid measured it, carried to the price list's scale: figures from elsewhere, marked so.

A run's record knows its own arms at the size of its own model, heavy schemes often on a part of it. The grid
(``benchmarks/grid.py``) runs every scheme on the same made-up updates up to 10^7 coordinates; each of its cells names its
processor. Of each scheme the cell is taken whose number of clients is nearest to the scale's, and of those the one with the
most coordinates; its seconds and bytes grow with the parameters, the operator's also with the partners.

What it does not say: what a network, another processor or a busier one makes of it, and what training costs.
"""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from securefl.errors import InputError
from securefl.evidence import GridLineRecord, GridRecord, PriceRecord
from securefl.report.prices import GIGABYTE, HOUR

UNKNOWN_CPU = "a processor that was not recorded"


class _Cell(BaseModel):
    """One cell of the grid's file; what is not needed here is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    scheme: str
    d: int = Field(ge=1)
    n: int = Field(ge=2)
    load: float = Field(0.0, ge=0)
    cpu: str = UNKNOWN_CPU
    skipped: str = ""
    setup_seconds: float = Field(0.0, ge=0)
    key_seconds: float = Field(0.0, ge=0)
    client_seconds: float = Field(0.0, ge=0)
    server_seconds: float = Field(0.0, ge=0)
    decryptor_seconds: float = Field(0.0, ge=0)
    bytes_up_per_parameter: float = Field(0.0, ge=0)
    bytes_down_per_parameter: float = Field(0.0, ge=0)


class _Grid(BaseModel):
    """The grid's file."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    cells: tuple[_Cell, ...]


def load_grid(path: Path | None, prices: PriceRecord) -> GridRecord | None:
    """Return the cost of every scheme of a grid's file at the price list's scale; ``None`` where no file is named.

    Raises:
        InputError: the file can't be read, or is no grid.
    """
    if path is None:
        return None
    try:
        grid = _Grid.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"grid {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"grid {path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error
    measured = [cell for cell in grid.cells if not cell.skipped]
    schemes = dict.fromkeys(cell.scheme for cell in measured)
    lines = tuple(_line(_nearest(measured, scheme, prices.scale.partners), prices) for scheme in schemes)
    return GridRecord(lines=lines)


def _nearest(cells: list[_Cell], scheme: str, partners: int) -> _Cell:
    """Return the cell of ``scheme`` that is most like the scale."""
    return min(
        (cell for cell in cells if cell.scheme == scheme), key=lambda cell: (abs(math.log(cell.n / partners)), -cell.d)
    )


def _line(cell: _Cell, prices: PriceRecord) -> GridLineRecord:
    scale = prices.scale
    grown, rounds = scale.parameters / cell.d, scale.rounds
    protocol = (cell.setup_seconds + rounds * cell.client_seconds * grown) / HOUR
    sent, received = (
        per_parameter * scale.parameters * rounds / GIGABYTE
        for per_parameter in (cell.bytes_up_per_parameter, cell.bytes_down_per_parameter)
    )
    return GridLineRecord(
        scheme=cell.scheme,
        parameters=cell.d,
        partners=cell.n,
        cpu=cell.cpu,
        load=cell.load,
        client_seconds=cell.client_seconds,
        bytes_up_per_parameter=cell.bytes_up_per_parameter,
        protocol_hours=protocol,
        operator_hours=rounds * cell.server_seconds * grown * scale.partners / cell.n / HOUR,
        decryptor_hours=rounds * (cell.key_seconds + cell.decryptor_seconds * grown) / HOUR,
        gigabytes_sent=sent,
        gigabytes_received=received,
        money_partner=protocol * prices.core_hour + sent * prices.gigabyte_sent + received * prices.gigabyte_received,
    )
