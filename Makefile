# One word per task. `make help` lists them.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: help train bench test test-all coverage golden sabotage catalogue check format docs clean

help:
	@echo "make train     install danlu and train a first model"
	@echo "make test      install what is needed and run the tests"
	@echo "make test-all  the same with the slow tests, on fully optimised programs"
	@echo "make coverage  which lines the tests run, in build/coverage"
	@echo "make golden    where PyTorch, Keras and transformers are installed: record anew what tests compare with"
	@echo "make sabotage  break danlu in 150 ways, one at a time, and see that danlu verify notices each"
	@echo "make bench     speed beside PyTorch, Keras and scikit-learn, where installed"
	@echo "make catalogue bring the catalogues of other languages up to date with the code"
	@echo "make check     format check, lint, types"
	@echo "make format    format and fix the code"
	@echo "make docs      the pages and the reference of every name, in build/docs"
	@echo "make clean     remove the virtual environment and caches"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "danlu needs Python 3.11 or newer, and none was found."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

.venv/.docs: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

.venv/.run: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

train: .venv/.run
	$(BIN)/danlu train

bench: .venv/.dev
	$(BIN)/python benchmarks/mlp.py

test: .venv/.dev
	$(BIN)/python -m pytest

test-all: .venv/.dev
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -m 'not bench'

coverage: .venv/.dev
	$(BIN)/python -m pytest --cov --cov-report=html:build/coverage --cov-report=term:skip-covered

golden: .venv/.dev
	$(BIN)/python -m pytest -n 0 -m 'not bench' --record-golden tests

sabotage: .venv/.dev
	$(BIN)/python tests/verify/sabotage.py

catalogue: .venv/.dev
	$(BIN)/python tests/language/forms.py

check: .venv/.dev
	$(BIN)/ruff format --check src tests docs/reference
	$(BIN)/ruff check src tests docs/reference
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff format src tests docs/reference
	$(BIN)/ruff check --fix src tests docs/reference

docs: .venv/.docs
	$(BIN)/python docs/reference/build.py

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis
