"""Check everything in this folder: ``python proofs/check.py [--slow] [--accept]`` (``make proofs`` installs what it needs).

Coq compiles each file under a time limit; no file admits anything; the statements and the assumptions of every theorem in
INDEX.toml equal the committed ones; the extracted oracle writes the committed vectors again; the models give the verdicts of
models/VERDICTS.toml, attacks included. ``--slow`` adds coqchk and the large models. ``--accept`` writes the golden files and
the vectors anew, for a change that was reviewed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
COQ, BUILD, MODELS = HERE / "coq", HERE / "build", HERE / "models"
STATEMENTS, ASSUMPTIONS = COQ / "STATEMENTS.txt", COQ / "ASSUMPTIONS.txt"
VECTORS = HERE / "vectors" / "oracle.json"
PACKAGES = (
    "coq libcoq-mathcomp-solvable libcoq-mathcomp-zify ocaml-nox ocaml-findlib libzarith-ocaml-dev spin maude gcc libc6-dev"
)
TOOLS = ("coqc", "make", "ocamlfind", "spin", "maude", "gcc")
FORBIDDEN = r"\b(Admitted|admit|Axioms?|Parameters?|Conjecture|give_up|bypass_check|type_in_type|Unset Guard Checking)\b"
CLOSED = "Closed under the global context"
FLAGS = ("-Q", str(COQ), "SecureFL", "-w", "none")


class CheckError(Exception):
    """Something in this folder is not as committed; the message says what."""


def missing_tools() -> list[str]:
    """Return the programs that are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def run(
    command: list[str], *, cwd: Path = HERE, limit: float = 300, text: str | None = None, from_stderr: bool = False
) -> str:
    """Return what ``command`` prints; raise CheckError when it fails or takes longer than ``limit`` seconds."""
    try:
        done = subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"{' '.join(command)}: longer than {limit} s") from error
    if done.returncode:
        raise CheckError(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stderr if from_stderr else done.stdout


def theorems() -> list[str]:
    """Return the qualified names (``File.theorem``) in INDEX.toml, each once, in order."""
    index = tomllib.loads((HERE / "INDEX.toml").read_text())
    names = [name for claim in index["claim"] for key in ("theorems", "instances", "controls") for name in claim.get(key, [])]
    return list(dict.fromkeys(names))


def check_compiles() -> str:
    """Compile every theory; the Makefile puts each coqc under a time limit."""
    run(["make", "-s", f"-j{os.cpu_count() or 1}"], cwd=COQ, limit=1500)
    return f"{len(list(COQ.glob('*.v')))} theories compile"


def check_nothing_admitted() -> str:
    """No theory assumes what it should prove."""
    for path in [*sorted(COQ.glob("*.v")), HERE / "oracle" / "Extract.v"]:
        content = re.sub(r"\(\*.*?\*\)", "", path.read_text(), flags=re.DOTALL)
        found = re.search(FORBIDDEN, content)
        if found:
            raise CheckError(f"{path.name}: {found.group()} is not allowed")
    return "nothing is admitted, no axiom is declared"


def ask_coq(*commands: str) -> str:
    """Return what Coq answers to ``commands`` with every theory of the index loaded, fully parenthesised."""
    files = sorted({name.split(".")[0] for name in theorems()})
    lines = ["From mathcomp Require Import all_ssreflect ssralg ssrnum.", f"From SecureFL Require {' '.join(files)}."]
    lines += ["Import GRing.Theory. Local Open Scope ring_scope.", "Set Printing Parentheses. Set Printing Width 110."]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Ask.v").write_text("\n".join([*lines, *commands]) + "\n")
        return run(["coqc", *FLAGS, "Ask.v"], cwd=Path(folder), limit=120)


def check_statements(accept: bool) -> str:
    """The statements are the reviewed ones: a precedence trap or a weakened hypothesis shows up as a difference."""
    golden(STATEMENTS, ask_coq(*(f"Check @{name}." for name in theorems())), accept)
    return f"{len(theorems())} statements as committed"


def check_assumptions(accept: bool) -> str:
    """Everything together rests on the accepted assumptions: none. (One term: Coq walks the library once.)"""
    together = ", ".join(f"@{name}" for name in theorems())
    found = ask_coq(f"Definition everything := ({together}).", "Print Assumptions everything.")
    golden(ASSUMPTIONS, found, accept)
    if found.strip() != CLOSED:
        raise CheckError(f"not closed: {found[:2000]}")
    return f"{len(theorems())} theorems together: {CLOSED.lower()}"


def golden(path: Path, now: str, accept: bool) -> None:
    """Compare ``now`` with the committed file, or write it."""
    if accept:
        path.write_text(now)
    elif not path.exists() or path.read_text() != now:
        (BUILD / path.name).write_text(now)
        raise CheckError(f"{path.name} differs from {BUILD / path.name}: review, then proofs/check.py --accept")


def build_oracle() -> Path:
    """Extract the reference and return the oracle's program."""
    BUILD.mkdir(exist_ok=True)
    run(["coqc", *FLAGS, "-o", str(BUILD / "Extract.vo"), str(HERE / "oracle" / "Extract.v")], cwd=BUILD, limit=300)
    shutil.copy(HERE / "oracle" / "oracle.ml", BUILD / "oracle.ml")
    sources = ["reference.mli", "reference.ml", "oracle.ml"]
    run(["ocamlfind", "ocamlopt", "-package", "zarith", "-linkpkg", "-w", "-a", *sources, "-o", "oracle"], cwd=BUILD, limit=300)
    return BUILD / "oracle"


def check_vectors(accept: bool) -> str:
    """The oracle answers the committed requests as committed."""
    sys.path.insert(0, str(HERE))
    from requests_for_oracle import requests  # the script is no package; its folder is on the path only when it runs

    asked = requests()
    answers = run([str(build_oracle())], text="".join(f"{line}\n" for line in asked)).splitlines()
    if len(answers) != len(asked) or any(answer.startswith("error") for answer in answers):
        raise CheckError(f"the oracle answered {len(answers)} of {len(asked)} requests, or an error")
    rows = [{"request": line, "answer": answer} for line, answer in zip(asked, answers, strict=True)]
    text = "".join(json.dumps(row) + ",\n" for row in rows)[:-2]
    golden(VECTORS, f"[\n{text}\n]\n", accept)
    return f"{len(rows)} vectors regenerate identically (sha256 {hashlib.sha256(text.encode()).hexdigest()[:12]})"


def spin_verdict(flags: str, *, optimise: str = "-O1") -> str:
    """Return ``holds`` or ``broken`` of one variant of the unmasking model, searched exhaustively."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(MODELS / "unmasking.pml", folder)
        run(["spin", *flags.split(), "-a", "unmasking.pml"], cwd=folder)
        run(["gcc", optimise, "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"], cwd=folder)
        report = run(["./pan", "-m5000000", "-n"], cwd=folder, limit=1500)
    found = re.search(r"errors: (\d+)", report)
    if found is None or "max search depth too small" in report or "out of memory" in report:
        raise CheckError(f"spin {flags}: the search was not complete")
    return "holds" if found.group(1) == "0" else "broken"


def maude_verdicts() -> dict[str, str]:
    """Return the verdict of every search in the key advertisement model."""
    report = run(["maude", "-no-banner", str(MODELS / "key_advertisement.maude")], text="")
    parts = re.findall(r"search \[1\] in KEX : (start\(\w+, \w+\)).*?\n\n(Solution|No solution)", report, flags=re.DOTALL)
    return {start: "holds" if answer == "No solution" else "broken" for start, answer in parts}


def check_models(slow: bool) -> str:
    """Every model gives its verdict, attacks included: the small variants, or with ``slow`` the large ones."""
    expected = tomllib.loads((MODELS / "VERDICTS.toml").read_text())
    variants = [row for row in expected["spin"] if row.get("slow", False) == slow]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda row: spin_verdict(row["flags"], optimise="-O2" if row.get("slow") else "-O1"), variants))
    symbolic = maude_verdicts()
    rows = [(row, verdict, row["flags"]) for row, verdict in zip(variants, found, strict=True)]
    rows += [(row, symbolic.get(row["search"], "no answer"), row["search"]) for row in expected["maude"]]
    for row, verdict, what in rows:
        if verdict != row["verdict"]:
            raise CheckError(f"model {what}: {verdict}, expected {row['verdict']} ({row['says']})")
    return f"{len(rows)} model variants give their verdicts, attacks included"


def check_kernel() -> str:
    """Coqchk re-checks every compiled theory, mathcomp included, and finds no axiom."""
    names = [f"SecureFL.{path.stem}" for path in sorted(COQ.glob("*.v"))]
    # coqchk writes its summary to standard error.
    report = run(["coqchk", "-silent", "-o", "-Q", str(COQ), "SecureFL", *names], limit=1500, from_stderr=True)
    if not re.search(r"Axioms:\s*<none>", report):
        raise CheckError(f"coqchk: {report[-2000:]}")
    return "coqchk: no axioms"


def main() -> int:
    """Run every check and return 0 if all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true", help="coqchk and the large models too")
    parser.add_argument("--accept", action="store_true", help="write golden files and vectors anew")
    parser.add_argument("--packages", action="store_true", help="print the Debian packages that this needs, and stop")
    parser.add_argument("--tools", action="store_true", help="say whether every tool is installed, and stop")
    options = parser.parse_args()
    if options.packages:
        sys.stdout.write(f"{PACKAGES}\n")
        return 0
    missing = missing_tools()
    if missing:
        sys.stderr.write(f"missing: {', '.join(missing)}. On Debian 12: apt-get install --no-install-recommends {PACKAGES}\n")
        return 1
    if options.tools:
        return 0
    BUILD.mkdir(exist_ok=True)
    steps: list[Callable[[], str]] = [check_nothing_admitted, check_compiles]
    steps += [lambda: check_statements(options.accept), lambda: check_assumptions(options.accept)]
    steps += [lambda: check_vectors(options.accept), lambda: check_models(slow=False)]
    steps += [check_kernel, lambda: check_models(slow=True)] if options.slow else []
    for step in steps:
        started = time.monotonic()
        try:
            said = step()
        except CheckError as error:
            sys.stderr.write(f"FAILED {error}\n")
            return 1
        sys.stdout.write(f"ok {time.monotonic() - started:5.1f} s  {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
