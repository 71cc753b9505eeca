"""Start a process for each partner, run rounds through the relay, and stop them all.

For simulations, tests and kill tests on one machine: whoever calls this makes the partners' folders, so it has seen their
keys. In a deployment each partner makes its own folder and starts its own process.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from securefl.errors import ParameterError, TooFewClients
from securefl.federation.process.relay import Capture, Relay, ignore
from securefl.federation.process.site import NewSite, create_site
from securefl.secagg.base import OpenedSum, RoundContext
from securefl.secagg.masking.protocol import MaskingSetup, PairwiseMasking
from securefl.types import ClientId, FloatVector, SystemRng

START_SECONDS = 60.0
START_SECONDS_EACH = 4.0
"""A partner's process takes about a second of one core to start; many of them share the machine's cores."""


@dataclass(slots=True)
class Consortium:
    """The relay, with the process of each partner."""

    relay: Relay
    setup: MaskingSetup
    sites: Path
    processes: dict[ClientId, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, client: ClientId) -> None:
        """Start (or start again) the process of ``client``."""
        module = "securefl.federation.process.partner"
        command = [sys.executable, "-m", module, str(site_folder(self.sites, client)), str(self.relay.port)]
        self.processes[client] = subprocess.Popen(command)

    def kill(self, client: ClientId) -> None:
        """Kill the process of ``client`` at once, as a crash would."""
        self.processes[client].kill()
        self.processes[client].wait()

    def run_round(self, round: int, model: bytes) -> OpenedSum:
        """Run one round with every partner that is there, and return the opened sum (quantiser steps, weight last).

        Raises:
            ProtocolAbort: the protocol stopped the round.
        """
        roster = self.setup.signed.roster
        model_hash = hashlib.sha256(model).digest()
        context = RoundContext(run_id=self.setup.run_id, round=round, roster_hash=roster.hash, model_hash=model_hash)
        # The operator's side is built without any partner's keys.
        server = PairwiseMasking(context, roster, {}).server(roster.clients)
        return self.relay.run_round(round, model, server, roster.clients)


def site_folder(sites: Path, client: ClientId) -> Path:
    """Return the folder of ``client``."""
    return sites / f"partner-{client}"


@contextmanager
def consortium(
    setup: MaskingSetup,
    sites: Path,
    *,
    updates: Mapping[ClientId, Mapping[int, FloatVector]],
    weights: Mapping[ClientId, int],
    deadline_s: float,
    capture: Capture = ignore,
) -> Iterator[Consortium]:
    """Make every partner's folder under ``sites``, start their processes, and stop them all in the end.

    Args:
        updates: for each client its updates by round.
        deadline_s: how long a phase waits for those who have not answered.

    Raises:
        ParameterError: a client has no updates or no weight.
        TooFewClients: fewer partners than the policy requires have connected after a minute and four seconds for each.
    """
    clients = setup.signed.roster.clients
    if set(updates) != clients or set(weights) != clients:
        raise ParameterError(f"updates of {sorted(updates)} and weights of {sorted(weights)} must be of {sorted(clients)}")
    for client in sorted(clients):
        new = NewSite(
            me=client, run_id=setup.run_id, signed=setup.signed, identity=setup.parties[client].identity,
            weight=weights[client], updates=updates[client],
        )  # fmt: skip
        create_site(site_folder(sites, client), new)
    relay = Relay(setup.signed.roster, run_id=setup.run_id, deadline_s=deadline_s, rng=SystemRng(), capture=capture)
    started = Consortium(relay, setup, sites)
    try:
        for client in sorted(clients):
            started.start(client)
        there = started.relay.wait_for(clients, START_SECONDS + START_SECONDS_EACH * len(clients))
        required = setup.signed.roster.policy.required
        if len(there) < required:
            raise TooFewClients(round=0, have=len(there), need=required)
        yield started
    finally:
        started.relay.close()
        for process in started.processes.values():
            stop(process)


def stop(process: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """Wait for ``process`` to end, and kill it if it does not."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
