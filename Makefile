# Thin wrappers: `make demo` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export DAGSTER_HOME ?= $(CURDIR)/.dagster_home

.DEFAULT_GOAL := help
.PHONY: help install demo test check dev serve study bench lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv with the locked versions

# --no-deps: the lock is complete, so the resolver has nothing to decide; `pip check` proves it.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 13) else "make: Python 3.11 or 3.12 is needed; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	$(BIN)/python -m pip check
	@touch $@

# dagster and dg read .env from this folder, so a bare `dagster dev` finds the same instance. Its values beat the
# environment's, so it hands on a DAGSTER_HOME that is set already.
.env: $(INSTALLED)
	@printf 'DAGSTER_HOME=$${DAGSTER_HOME:-%s}\n' '$(CURDIR)/.dagster_home' > $@

# Only where there is none: a DAGSTER_HOME of the user's own keeps its settings.
$(DAGSTER_HOME)/dagster.yaml:
	@mkdir -p $(DAGSTER_HOME)
	@cp dagster.yaml $@

HOUSE := $(INSTALLED) .env $(DAGSTER_HOME)/dagster.yaml

demo: $(HOUSE) ## materialise the whole demo graph (synthetic data, minutes on 2 cores)
	$(BIN)/mm demo

test: $(HOUSE) ## run every test
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

check: $(HOUSE) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

dev: $(HOUSE) ## the Dagster page on http://127.0.0.1:3000
	exec $(BIN)/dagster dev -w workspace.yaml

serve: $(HOUSE) ## the API and the demo page on http://127.0.0.1:8000
	exec $(BIN)/mm serve

study: $(HOUSE) ## the numbers of the README: three seeds, about an hour a wing; writes docs/results
	$(BIN)/mm study

bench: $(HOUSE) ## the benchmarks, ours beside the peer; writes docs/results/benchmarks.json
	$(BIN)/python -m benchmarks.run_all

lock: ## rewrite requirements.lock from pyproject.toml
	$(PYTHON) -m pip install --quiet uv
	$(PYTHON) -m uv pip compile --quiet pyproject.toml --extra dev --python-version 3.11 --no-annotate --no-header --no-emit-index-url --output-file requirements.lock

clean: ## remove everything that make and mm wrote here
	rm -rf $(VENV) .mm .mm-study .scratch .dagster_home .env .pytest_cache .ruff_cache .mypy_cache .hypothesis
