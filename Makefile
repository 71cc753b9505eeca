# securefl: `make report` and `make test` work on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
# A GPU build or a smaller CPU build: make install TORCH="torch==2.13.0 --index-url ..."
TORCH ?= torch==2.13.0
OUT ?= runs/demo
BIN := .venv/bin
# A file of tests stays in one process, with what it trained for all of them.
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile
STAMP := .venv/.installed

.PHONY: install report test slow long proofs lint clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt requirements-data.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[paillier,test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-data.txt
	touch $@

report: install
	$(BIN)/securefl demo --out $(OUT)

test: install
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

slow: install
	$(PYTEST) -m 'slow and not long'

# Installs Coq, OCaml, spin and maude where it can (Debian, as root), else check.py says what is missing.
proofs: install
	$(BIN)/python proofs/check.py --tools || { test "$$(id -u)" = 0 && apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends $$($(BIN)/python proofs/check.py --packages); }
	$(BIN)/python proofs/check.py
	$(BIN)/python -m pytest -q tests/proofs

long: install
	$(BIN)/python -m pytest -q -m long

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
