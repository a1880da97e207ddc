# The Python that environments are made with, and where the working environment lives.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where make serve listens.
PORT ?= 8000
# Options for the benchmarks, for instance BENCH="--quick --only get"; BENCH=--help lists them.
BENCH ?=
# Options for the soak, for instance SOAK="--seconds 120" or SOAK="--clients"; SOAK=--help lists them.
SOAK ?=
# Options for the fuzzer, for instance FUZZ="--seconds 60 --only http1-h11"; FUZZ=--help lists them.
FUZZ ?=
# How many test files run side by side: most of them wait for servers most of the time. 0: one after the other.
TESTS_AT_ONCE ?= 3
# In the order in which they are found: tests/conftest.py has those first that take long.
SIDE_BY_SIDE = --numprocesses $(TESTS_AT_ONCE) --dist loadfile --no-loadscope-reorder
# Options for the grid, for instance GRID="--ci", GRID="--tools" or GRID="Litestar --verbose"; GRID=--help lists them.
GRID ?=
# Which rooms make coverage-rooms looks at; none: all of them.
ROOMS ?=
# Which corners of the test matrix run: all, extreme (oldest with oldest, newest with newest), or ci (these, in part).
CORNERS ?= all
# Which of the newest Pythons, and what of the tests, for instance NEWEST="3.15 -- tests/http1".
NEWEST ?=

# Where it is set, each of the hundreds of Pythons that the tests start would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test test-long coverage coverage-rooms check docs bench bench-charts bench-curves bench-access-log bench-start bench-idle-websockets conformance-websocket soak fuzz test-matrix test-newest grid dist findings clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

serve: $(VENV)/.installed ## set up and serve examples/hello under gunicorn on 127.0.0.1:8000; another port: PORT=8001
	@# From the folder itself, where Gunicorn finds gunicorn.conf.py also when it is told to reload (HUP).
	cd examples/hello && exec $(abspath $(BIN))/gunicorn --bind 127.0.0.1:$(PORT) app:app

test: $(VENV)/.installed-test ## set up and run the tests but for the long ones
	$(BIN)/python -m pytest -m "not long" $(SIDE_BY_SIDE)

coverage: $(VENV)/.installed-test ## the same tests with the gate on branch coverage, which takes about twice as long
	$(BIN)/python -m pytest --cov -m "not long" $(SIDE_BY_SIDE)

test-long: $(VENV)/.installed-test ## the tests that are worth their length: floods, crowds, time that passes
	$(BIN)/python -m pytest -m long -o faulthandler_timeout=400 $(SIDE_BY_SIDE)

coverage-rooms: $(VENV)/.installed-test ## the gate on each room's branch coverage by its own tests; some of them: ROOMS="core tls"
	$(BIN)/python .ci/coverage_rooms.py $(ROOMS)

check: $(VENV)/.installed-dev ## lint, format, types and docs, all of them strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs: $(VENV)/.installed-dev ## make the tables of docs/settings.md, and build the documentation into site/
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Built. Open it in a browser, from disk, search included:"
	@echo "    file://$(abspath site/index.html)"

bench: $(BIN)/python ## measure side by side with other servers; options in BENCH
	$(BIN)/python -m benchmarks.run $(BENCH)

bench-curves: $(VENV)/.installed ## the curves of docs/tuning.md: workers, connections, limits, blocking code
	$(BIN)/python -m benchmarks.curves

bench-charts: $(BIN)/python ## the charts of docs/performance.md, of the tables that stand there
	$(BIN)/python -m benchmarks.charts

bench-access-log: $(BIN)/python ## what access lines of several forms cost, to a file, a pipe and stdout
	$(BIN)/python -m benchmarks.access_log $(BENCH)

bench-start: $(BIN)/python ## from exec to the first answer, beside other servers: time, CPU, memory
	$(BIN)/python -m benchmarks.start $(BENCH)

bench-idle-websockets: $(BIN)/python ## memory of 10,000 idle WebSockets, beside other servers
	$(BIN)/python -m benchmarks.idle_websockets $(BENCH)

conformance-websocket: $(VENV)/.installed ## the Autobahn testsuite against both workers; recorded in docs/conformance.md
	$(BIN)/python tests/conformance/autobahn.py

soak: $(VENV)/.installed-test ## ten minutes of load with everything that can happen to workers; options in SOAK
	$(BIN)/python -m tests.e2e.lifecycle.soak $(SOAK)

fuzz: $(VENV)/.installed-test ## ten minutes of fuzzing over all that reads client bytes; options in FUZZ
	@$(PIP_INSTALL) --only-binary atheris --editable '.[fuzz]' || echo "atheris has no wheel here: mutations at random" >&2
	$(BIN)/python -m tests.fuzz $(FUZZ)

test-matrix: $(BIN)/python ## end-to-end tests over oldest and newest Python and Gunicorn, all tests over the oldest; CORNERS=all, extreme or ci
	$(BIN)/python .ci/matrix.py $(CORNERS)

test-newest: $(BIN)/python ## the tests on the newest Pythons of Debian, in a folder (needs root and debootstrap); options in NEWEST
	$(BIN)/python .ci/newest.py $(NEWEST)

grid: $(VENV)/.installed-test ## frameworks under real workers, each in an environment of its own below .grid; options in GRID
	$(BIN)/python -m tests.grid $(GRID)

dist: $(BIN)/python ## build sdist and wheel, check them, and serve a request with each from an empty environment
	$(PIP_INSTALL) --editable '.[dist]'
	$(BIN)/python .ci/dist.py

findings: ## run the scripts of findings/, which look at other libraries and tools
	@failed=; for script in $(filter-out findings/lib.sh,$(wildcard findings/*.sh)); do \
	    echo "== $$script"; bash $$script || failed="$$failed $$script"; done; \
	    echo "== $${failed:-no script} failed"; test -z "$$failed"

clean: ## remove what builds and tests left behind; the environment in .venv stays
	rm -rf .matrix build dist site htmlcov .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
	find uvicorn_worker tests examples benchmarks .ci -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that is already there is used as it is.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	    echo "Python 3.10 or newer is needed, and '$(PYTHON)' is not: name one with make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make virtual environments: on Debian and Ubuntu, install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Installed again only when the requirements or the version have changed: the package itself is installed editable.
REQUIREMENTS := pyproject.toml uvicorn_worker/__init__.py

$(VENV)/.installed: $(REQUIREMENTS) | $(BIN)/python
	@echo "Installing the package and what it needs into $(VENV); this takes a moment, once."
	$(BIN)/python -m pip install --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: $(REQUIREMENTS) | $(BIN)/python
	$(PIP_INSTALL) --editable '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(REQUIREMENTS) | $(BIN)/python
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@
