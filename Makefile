# `make demo` and `make test` need Python 3.11 or later and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint check-format types tests faults clean

demo: $(READY)
	@$(BIN)/rpcguard demo

test: lint types tests

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rpcguard needs Python 3.11 or later; say: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group dev --editable ".[all]"
	@touch $@

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

# Branches, not lines, are the measure; a line can be run without its decision being tested.
tests: $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage json --quiet -o .coverage.json
	@$(BIN)/python -c 'import json, sys; t = json.load(open(".coverage.json"))["totals"]; p = 100 * t["covered_branches"] / t["num_branches"]; print(f"branches covered: {p:.1f} %"); sys.exit(p < 95)'

# Break real servers of Redis under load, and write what was counted into docs/operators.md.
faults: $(READY)
	RPCGUARD_FAULTS=write $(BIN)/pytest -q -m faults tests/backends

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
