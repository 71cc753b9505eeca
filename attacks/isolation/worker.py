"""The process that attacks run in: ``python -I attacks/isolation/worker.py``, one line of JSON for each view.

It imports the attacks once, before it knows of any run, and then forks for each view: the child locks itself in, reads the
view, runs the attacks, writes their claims, and ends. Nothing of one view is in memory when the next one comes. If the caller
is killed meanwhile, the child is ended and the view, which may hold a partner's update, removed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attacks.interface import Attack, Claims
from attacks.isolation.lockdown import lock
from attacks.isolation.view_file import read_view, write_tensors
from attacks.registry import ATTACKS

SECONDS_FILE = "seconds.json"
ERROR_FILE = "error.txt"


def run_attacks(attacks: Sequence[Attack[object]], *, view: Path, answer: Path) -> None:
    """Run ``attacks`` on the view in a folder and write each one's claims into the folder ``answer``.

    An attack gets the tensors that it reads and no others.
    """
    seen = read_view(view)
    claims: dict[str, Claims] = {}
    seconds: dict[str, float] = {}
    for attack in attacks:
        begin = time.thread_time()
        claims[attack.name] = attack.run(seen.only(attack.reads), claims.get(attack.needs or "", {}))
        seconds[attack.name] = time.thread_time() - begin
        write_tensors(answer / f"{attack.name}.safetensors", claims[attack.name])
    (answer / SECONDS_FILE).write_text(json.dumps(seconds), encoding="utf-8")


def locked_child(order: Mapping[str, object], attacks: Sequence[Attack[object]]) -> None:
    """Do one order in this process, which must end after it; what goes wrong is written to the answer's error file."""
    view, answer, empty = (Path(str(order[name])) for name in ("view", "answer", "empty"))
    os.chdir(empty)
    silence = os.open(os.devnull, os.O_RDWR)
    errors = os.open(answer / ERROR_FILE, os.O_WRONLY | os.O_CREAT, 0o600)
    # The line to the caller is not the child's to read or to write.
    for descriptor, target in ((0, silence), (1, silence), (2, errors)):
        os.dup2(target, descriptor)
    lock(view=view, answer=answer)
    run_attacks(attacks, view=view, answer=answer)


def _ends_before_the_caller(child: int) -> bool:
    """Wait until ``child`` has ended, which is true, or the caller has: it sends no order before the last one is answered."""
    if not hasattr(os, "pidfd_open"):
        return True
    running = os.pidfd_open(child)
    ready, _, _ = select.select([running, sys.stdin], [], [])
    os.close(running)
    return running in ready


def serve(attacks: Sequence[Attack[object]]) -> None:
    """Fork a locked child for each order on standard input, and say when it has ended."""
    known = {attack.name: attack for attack in attacks}
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            locked_child(order, [known[name] for name in order["attacks"]])
            # A plain exit would run the parent's clean-up in the child; an exception ends it with a traceback instead.
            os._exit(0)
        if not _ends_before_the_caller(child):
            os.kill(child, signal.SIGKILL)
            shutil.rmtree(Path(order["view"]).parent, ignore_errors=True)
            return
        _, status = os.waitpid(child, 0)
        sys.stdout.write(json.dumps({"status": os.waitstatus_to_exitcode(status)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(ATTACKS)
