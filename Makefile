# `make demo` and `make test` need Python 3.11 or later and nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test bench bench-short lint types tests attacks faults fuzz fuzz-short mutation clean record docs
.PHONY: test-lowest test-pythons dist check-dist sbom

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
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet --no-progress .github

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

# What depends on the versions of others: frameworks, servers, cryptography, pydantic, redis-py.
VERSIONS := tests/test_authenticator.py tests/test_verifier.py tests/test_keys.py tests/test_reload.py \
	tests/test_limits_redis.py tests/presets tests/schemes \
	$(addprefix tests/registry/test_,compile.py reader.py schema.py) \
	tests/backends/test_redis.py tests/backends/test_open.py \
	tests/cli/test_main.py tests/cli/test_check.py tests/cli/test_output.py \
	$(addprefix tests/contrib/test_,aiohttp.py everywhere.py fastapi.py flask.py conformance_verdicts.py known_requests.py \
	limits_over_http.py unix_sockets.py websockets.py)
# Old versions warn of what newer Pythons and newer versions of each other have changed.
RUN_VERSIONS := -m pytest -q -o filterwarnings=default $(VERSIONS)

# Until 0.51 uvicorn's own choice of a WebSocket protocol waits for the peer's closing frame.
WAITS := tests/contrib/test_websockets.py::TestInside::test_a_peer_that_does_not_hang_up_is_served_no_longer[uvicorn-auto]

# The lowest versions that pyproject.toml promises. Fails when a promise is not kept.
LOWEST := .venv-lowest
test-lowest:
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python release/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/constraints.txt --group suite --editable ".[all]"
	$(LOWEST)/bin/python $(RUN_VERSIONS) --deselect "$(WAITS)"

# Every other Python that pyproject.toml names, on PATH or under pyenv, with the pinned versions.
PYTHONS ?= 3.12 3.13
test-pythons: $(addprefix test-python-,$(PYTHONS))
test-python-%:
	@found=; for each in python$* $$HOME/.pyenv/versions/$*.*/bin/python; do \
	  if $$each -c '' 2>/dev/null; then found=$$each; fi; done; \
	test -n "$$found" || { echo "no Python $* on PATH or under pyenv"; exit 1; }; \
	set -x; rm -rf .venv-$* && $$found -m venv .venv-$* && \
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" && \
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group suite --editable ".[all]" && \
	.venv-$*/bin/python $(RUN_VERSIONS)

# The release's files, in dist/: an sdist, and the wheel that is built from it.
RELEASE := $(VENV)/.release
$(RELEASE): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group release
	@touch $@

dist: $(RELEASE)
	rm -rf dist
	$(BIN)/python -m build --outdir dist

# What users will get: metadata, contents, each extra alone in a new environment, the demo, the types.
check-dist: dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/pytest -q release

# What an installation of everything brings along, as CycloneDX, next to the release's files.
sbom: dist
	rm -rf .venv-sbom
	$(PYTHON) -m venv --without-pip .venv-sbom
	$(BIN)/python -m pip --python .venv-sbom/bin/python install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[all]"
	rm .venv-sbom/lib/python*/site-packages/rpcguard-*.dist-info/direct_url.json  # where the wheel lies here
	$(BIN)/cyclonedx-py environment --output-reproducible --of JSON --output-file dist/rpcguard.cdx.json .venv-sbom/bin/python
	@$(BIN)/python -c 'import json, rpcguard; assert ("rpcguard", rpcguard.__version__) in {(c["name"], c["version"]) for c in json.load(open("dist/rpcguard.cdx.json"))["components"]}'

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
	rm -rf $(VENV) .venv-* .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .mutation dist docs/_build

# Runs pages, and writes down what their commands print where they show something else.
PAGES ?= docs/cli.md
record: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m pages $(PAGES)

# The site, in docs/_build/html. Every warning is an error; nothing is fetched.
docs: $(READY)
	$(BIN)/sphinx-build -q -n -W --keep-going -d docs/_build/doctrees docs docs/_build/html
