"""Cost in time, bytes and money at a stated scale: measured figures times stated ratios, by one model that the page prints.

A straight line through one measurement is no forecast: caches, networks and schedulers bend it. It says which arm is dear and
which isn't, and whether four weeks are near.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from securefl.errors import InputError
from securefl.evidence import EstimateRecord, PriceRecord
from securefl.records import ArmRecord, DataRecord
from securefl.report.conformance import decryptor_of

SHIPPED = "prices.toml"
HOUR, DAY, GIGABYTE = 3600.0, 86400.0, 1e9
MODEL = (
    "Protocol: measured CPU seconds and bytes for each parameter, times the parameters, times the rounds. Training: measured "
    "CPU seconds for one activity, parameter of the trunk and round, times those of the scale, divided among the partners. The "
    "operator's and the decryptors' work grows with the partners too. A threshold's decryptors are the partners' own and work "
    "at the same time: a partner pays for its own; all pay for a single one. Days: training over all cores of a partner's "
    "machine, everything else on one core, one after the other; time on the network is not in it."
)


def load_prices(path: Path | None = None) -> PriceRecord:
    """Return the price list in a TOML file, or the one that ships with securefl.

    Raises:
        InputError: the file can't be read, is not TOML, or has a price or a size outside its bound.
    """
    source = f"{SHIPPED} (shipped)" if path is None else str(path)
    try:
        content = (files(__package__) / SHIPPED).read_bytes() if path is None else path.read_bytes()
        fields = tomllib.loads(content.decode("utf-8"))
        return PriceRecord.model_validate(fields | {"sha256": hashlib.sha256(content).hexdigest()})
    except OSError as error:
        raise InputError(f"prices {source}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"prices {source}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise InputError(f"prices {source}: {where}: {first['msg']}") from error


def estimates(arms: Iterable[ArmRecord], data: DataRecord, partners: int, prices: PriceRecord) -> tuple[EstimateRecord, ...]:
    """Return the cost of every arm that aggregates, at the price list's scale, by :data:`MODEL`."""
    usable = [arm for arm in arms if arm.scheme is not None and arm.parameters and arm.rounds and data.activities]
    # An arm may aggregate a part of the trunk; what it trains is the trunk of the run.
    trunk = max((arm.parameters for arm in usable), default=0)
    return tuple(_estimate(arm, data.activities * trunk, partners, prices) for arm in usable)


def _estimate(arm: ArmRecord, work: int, partners: int, prices: PriceRecord) -> EstimateRecord:
    """Return an arm's estimate; ``work`` is activities times parameters of the measured run."""
    cost, scale = arm.cost, prices.scale
    grown = scale.parameters / arm.parameters
    protocol = (cost.setup_seconds + scale.rounds * cost.client_seconds) * grown / HOUR
    operator = scale.rounds * cost.server_seconds * grown * scale.partners / partners / HOUR
    decryptors = scale.rounds * cost.decryptor_seconds * grown * scale.partners / partners / HOUR
    if decryptors:
        decryptors += scale.rounds * cost.key_seconds / HOUR
    own = decryptors / scale.partners if decryptor_of(arm) == "threshold" else 0.0
    alone = 0.0 if own else decryptors
    steps = arm.rounds * len(arm.seeds) * work
    training = cost.training_seconds / steps * scale.rounds * scale.parameters * scale.activities / scale.partners / HOUR
    sent = cost.bytes_up_per_parameter * scale.parameters * scale.rounds / GIGABYTE
    received = cost.bytes_down_per_parameter * scale.parameters * scale.rounds / GIGABYTE
    money = (protocol + training + own) * prices.core_hour + sent * prices.gigabyte_sent + received * prices.gigabyte_received
    days = (training / prices.cores + protocol + operator + own + alone) * HOUR / DAY
    return EstimateRecord(
        arm=arm.name,
        protocol_hours=protocol,
        training_hours=training,
        operator_hours=operator,
        decryptor_hours=decryptors,
        gigabytes_sent=sent,
        gigabytes_received=received,
        money_partner=money,
        money_consortium=money * scale.partners + (operator + alone) * prices.core_hour,
        days=days,
        fits=days <= scale.limit_days,
    )
