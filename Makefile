# perpbot: two commands, `make run` and `make test`. Both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A process starts in half the time when the modules are compiled already; some machines forbid it in their environment.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# A plain path entry: the import hook that is setuptools' default costs every command 14 ms.
EDITABLE := --config-settings editable_mode=compat -e

.PHONY: run test setup setup-dev lint types warm unit coverage soak bench bench-peers pictures docs clean

run: setup
	@$(BIN)/perpbot demo

setup: $(VENV)/.installed

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "perpbot needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11 setup" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml constraints.txt
	@echo "setting up $(VENV) (once; about a minute)" >&2
	@$(PIP) $(EDITABLE) .
	@touch $@

setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "adding the tools of the tests to $(VENV) (once)" >&2
	@$(PIP) $(EDITABLE) '.[dev]'
	@touch $@

test: setup-dev
	@$(MAKE) --no-print-directory -j 2 lint types warm
	@$(MAKE) --no-print-directory unit

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup-dev
	$(BIN)/mypy

# The kernels, compiled once: not in every worker, and not by daemons that end before they have kept them.
warm: setup-dev
	@$(BIN)/python -c "from perp_bot.backtest.compiled import warm; warm()"

# Three workers on two cores: scenarios with a running clock wait more than they compute.
unit: warm
	$(BIN)/pytest -n 3 --dist loadgroup -m "not soak"

# Which lines no test runs. Apart from `make test`: counting lines makes it half as slow again.
coverage: setup-dev
	$(BIN)/pytest -n 2 --dist loadgroup -m "not soak" --timeout=240 --cov --cov-report=term

soak: setup-dev
	$(BIN)/pytest -m soak --timeout=3600

bench: setup-dev
	@$(BIN)/perpbot bench

# The libraries that `perpbot bench backtest sweep indicators` measures ours beside; about 4 GB, needed by nothing else.
bench-peers: setup-dev
	@$(BIN)/python -m perp_bot.bench.peers_setup

# The pages and files that are generated from the code: docs/configuration.md and config.yaml.
docs: setup
	$(BIN)/python -m perp_bot.config.docs

# The pictures in docs/pictures, taken from the running program (about a minute).
pictures: setup
	$(BIN)/python docs/pictures/take.py

clean:
	rm -rf $(VENV) .venv-peers build *.egg-info .pytest_cache .mypy_cache .ruff_cache
