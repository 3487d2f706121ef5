# `make` prints this help. `make demo` and `make test` do all set-up themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SOURCES := $(shell find native bitnet_cli -name '*.[ch]' -o -name '*.def' -o -name CMakeLists.txt -o -name '*.py')

.PHONY: help demo test pytest checks bench-check lint format wheel clean
help:               ## show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready            ## build, then let the built-in model write a story
	@$(BIN)/bitnet run "Once upon a time, there was a little" --temp 0.6

test: pytest checks             ## everything: Python tests, then kernel checks on every CPU kind this machine can show

pytest: $(VENV)/.ready-test     ## the Python tests
	$(BIN)/python -m pytest -q

checks: $(VENV)/.ready-test     ## the C checks: plain, sanitizers, emulated CPUs (says what it leaves out)
	PATH="$(CURDIR)/$(BIN):$$PATH" native/tests/run_checks.sh all

bench-check: $(VENV)/.ready     ## is the engine about as fast as this machine allows? Noise does not matter
	$(BIN)/python tools/bench_check.py

lint: $(VENV)/.ready-dev        ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(VENV)/.ready-dev      ## repair what `make lint` complains about, where that is possible
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

wheel: $(VENV)/.ready           ## build a wheel into dist/
	$(BIN)/python -m pip wheel --no-deps -w dist .

clean:              ## remove what the other targets made
	rm -rf $(VENV) build dist

$(VENV)/.venv:
	@tools/ensure_python.sh $(PYTHON)
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.ready: $(VENV)/.venv pyproject.toml $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.venv pyproject.toml $(SOURCES)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.ready

$(VENV)/.ready-dev: $(VENV)/.ready-test
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,dev]'
	@touch $@
