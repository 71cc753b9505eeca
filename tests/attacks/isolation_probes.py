"""Attacks that try to reach more than their view; run as a program, it serves them as the real worker serves the real ones."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from attacks.interface import AdversaryView, Attack, Claims, Found
from attacks.isolation.worker import serve

MEMORY: list[int] = []


def text(view: AdversaryView, name: str) -> str:
    return str(view.facts[name])


def port(view: AdversaryView) -> tuple[str, int]:
    return "127.0.0.1", int(view.facts["port"] or 0)


def done(work: Callable[[AdversaryView], object]) -> Callable[[AdversaryView, Claims], Claims]:
    """A probe that claims that its work was done."""

    def run(view: AdversaryView, earlier: Claims) -> Claims:
        work(view)
        return {"done": np.ones(1)}

    return run


def load_a_library(view: AdversaryView) -> object:
    import ctypes

    return ctypes.CDLL("libc.so.6")


def start(view: AdversaryView) -> object:
    import subprocess

    return subprocess.run(["true"], check=True)


def surroundings(view: AdversaryView, earlier: Claims) -> Claims:
    return {
        "inherited": np.array([int("HOME" in os.environ or "PATH" in os.environ)]),
        "files": np.array([len(list(Path().iterdir()))]),
        "input": np.array([len(os.read(0, 10))]),
    }


def remembers(view: AdversaryView, earlier: Claims) -> Claims:
    MEMORY.append(1)
    return {"count": np.array([len(MEMORY)])}


def removes(view: AdversaryView) -> None:
    Path(text(view, "path")).unlink()


RUNS: dict[str, Callable[[AdversaryView, Claims], Claims]] = {
    "reads": lambda view, earlier: {"seen": view.tensors["open"]},
    "lists_tensors": lambda view, earlier: {"count": np.array([len(view.tensors)])},
    "opens": done(lambda view: Path(text(view, "path")).read_text()),
    "opens_low": done(lambda view: os.open(text(view, "path"), os.O_RDONLY)),
    "opens_numpy": done(lambda view: np.fromfile(text(view, "path"), dtype=np.uint8)),
    "lists": done(lambda view: os.listdir(Path(text(view, "path")).parent)),
    "writes": done(lambda view: Path(text(view, "path")).write_text("8")),
    "removes": done(removes),
    "links": done(lambda view: os.link(text(view, "path"), "here")),
    "starts_a_program": done(start),
    "forks": done(lambda view: os.fork()),
    "loads_a_library": done(load_a_library),
    "connects": done(lambda view: socket.create_connection(port(view))),
    "resolves": done(lambda view: socket.getaddrinfo("localhost", 80)),
    "kills": done(lambda view: os.kill(os.getppid(), 0)),
    "surroundings": surroundings,
    "remembers": remembers,
    "sleeps": done(lambda view: time.sleep(600)),
    "crashes": done(lambda view: 1 // 0),
}


def unscored(claims: Claims, earlier: Claims, truth: object) -> Found:
    return Found()


PROBES: tuple[Attack[object], ...] = tuple(
    Attack(name=name, asset="label", views=("V1",), reads=("open",), run=run, score=unscored) for name, run in RUNS.items()
)

if __name__ == "__main__":
    serve(PROBES)
