# `make demo` and `make test` need Python 3.11 or later and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test bench bench-short lint check-format types tests attacks faults fuzz fuzz-short mutation clean record docs

demo: $(READY)
	@$(BIN)/rpcguard demo

test: lint types docs tests

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

# The rows of tests/attacks/rows.txt that no test carries the number of.
attacks: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m attacks

# Coverage-guided, FUZZ_SECONDS for each harness. Atheris has no wheel for every platform, so it is
# no part of the other set-up.
FUZZ_SECONDS ?= 60
FUZZ_GROUP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary atheris --group fuzz
fuzz: $(READY)
	$(FUZZ_GROUP)
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python fuzz/verify.py
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python fuzz/registry.py

# Whether the harnesses work: a bounded number of inputs, from the same seed each time.
fuzz-short: $(READY)
	$(FUZZ_GROUP)
	PYTHONHASHSEED=0 $(BIN)/python fuzz/verify.py -seed=1 -runs=10000
	PYTHONHASHSEED=0 $(BIN)/python fuzz/registry.py -seed=1 -runs=2000

# Every change that mutmut can make to what decides (tests/mutation/files.py), or to FILE alone, is
# seen by a test or explained. Takes long, and goes on where it was stopped; no part of `make test`.
mutation: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group mutation
	@PYTHONPATH=tests $(BIN)/python -m mutation $(FILE)

# Writes bench/results.json and the figures of docs/performance.md. Leave the machine alone meanwhile.
bench: $(READY)
	$(BIN)/python -m bench

# Whether every benchmark works, not how fast anything is.
bench-short: $(READY)
	$(BIN)/python -m bench --short

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .mutation dist docs/_build

# Runs pages, and writes down what their commands print where they show something else.
PAGES ?= docs/cli.md
record: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m pages $(PAGES)

# The site, in docs/_build/html. Every warning is an error; nothing is fetched.
docs: $(READY)
	$(BIN)/sphinx-build -q -n -W --keep-going -d docs/_build/doctrees docs docs/_build/html
