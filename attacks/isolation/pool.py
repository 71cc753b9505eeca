"""The pool: writes views to files, has attacks run on them in locked processes, and brings their claims back."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, Any, cast

from attacks.interface import AdversaryView, Attack, Claims
from attacks.isolation.view_file import read_tensors, view_digest, write_view
from attacks.isolation.worker import ERROR_FILE, SECONDS_FILE
from securefl.errors import SecureFLError

ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
"""All that a worker finds in its environment: one thread for each, and no variable of the caller's."""
PROCESSES = 2
WORKER = Path(__file__).with_name("worker.py")


class AttackFailedError(SecureFLError):
    """An attack's process ended without claims; the message is the last line of its traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``claims`` of each attack by its name, and the processor ``seconds`` that each one took."""

    claims: dict[str, Claims] = field(repr=False)
    seconds: dict[str, float]


class _Worker:
    """One worker process; it does one order at a time."""

    def __init__(self, program: Path) -> None:
        # The command's own process starts empty: no variable, no file and no memory of this one.
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(program)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        self._send: IO[str] = cast(IO[str], self._process.stdin)
        self._receive: IO[str] = cast(IO[str], self._process.stdout)

    def do(self, order: dict[str, object]) -> int:
        """Return the exit status of the child that did ``order``."""
        try:
            self._send.write(json.dumps(order) + "\n")
            self._send.flush()
            line = self._receive.readline()
        except OSError as error:
            raise AttackFailedError(f"the attacks' process is gone: {error}") from error
        if not line:
            raise AttackFailedError("the attacks' process ended before it answered")
        return int(json.loads(line)["status"])

    def stop(self) -> None:
        """Let the process end what it does, and itself."""
        self._send.close()

    def close(self) -> None:
        """End the process."""
        self._send.close()
        self._receive.close()
        self._process.wait()


class Pool:
    """Runs attacks on views, ``processes`` at a time. Use it as a context.

    An attack knows its view and nothing else, so the same view has the same answer: arms that release the same tensors, as all
    exact protocols do, are attacked once. The answer's seconds are those of that one time.
    """

    def __init__(self, *, processes: int = PROCESSES, program: Path = WORKER) -> None:
        """Start ``processes`` workers that run ``program``."""
        self._free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers = [_Worker(program) for _ in range(processes)]
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(processes)
        self._answers: dict[tuple[bytes, tuple[str, ...]], Future[Answer]] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            for worker in self._workers:
                worker.stop()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def submit(self, view: AdversaryView, attacks: Sequence[Attack[Any]]) -> Future[Answer]:
        """Return the answer, to come, of ``attacks`` (in this order) on ``view``: its ``result`` raises AttackFailedError."""
        reads = [name for attack in attacks for name in attack.reads]
        key = view_digest(view, reads), tuple(attack.name for attack in attacks)
        if key not in self._answers:
            self._answers[key] = self._threads.submit(self._run, view, tuple(attacks))
        return self._answers[key]

    def _run(self, view: AdversaryView, attacks: tuple[Attack[Any], ...]) -> Answer:
        with TemporaryDirectory(prefix="securefl-view-") as scratch:
            folders = {name: Path(scratch) / name for name in ("view", "answer", "empty")}
            for folder in folders.values():
                folder.mkdir()
            reads = dict.fromkeys(name for attack in attacks for name in attack.reads)
            write_view(folders["view"], view, reads)
            order: dict[str, object] = {name: str(folder) for name, folder in folders.items()}
            worker = self._free.get()
            try:
                status = worker.do({**order, "attacks": [attack.name for attack in attacks]})
            finally:
                self._free.put(worker)
            if status != 0:
                raise AttackFailedError(f"{attacks[0].name} in view {view.view}: {_last_line(folders['answer'], status)}")
            seconds = json.loads((folders["answer"] / SECONDS_FILE).read_text(encoding="utf-8"))
            claims = {a.name: read_tensors(folders["answer"] / f"{a.name}.safetensors") for a in attacks}
            return Answer(claims=dict(claims), seconds=dict(seconds))


def _last_line(answer: Path, status: int) -> str:
    written = answer / ERROR_FILE  # missing where the process was killed before it opened its error file
    lines = written.read_text(encoding="utf-8").strip().splitlines() if written.exists() else []
    return lines[-1] if lines else f"ended with status {status}"
