# The commands of this repository; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
DEMO_ARGS ?=
BENCH ?= $(basename $(notdir $(filter-out %/__init__.py %/peer_shape.py %/choices_http.py,$(sort $(wildcard benchmarks/*.py)))))
PIP_COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

.PHONY: help setup demo check format test soak bench lock clean

help: ## list every target
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## install Kept and what it needs into .venv

$(STAMP): requirements-dev.txt pyproject.toml
	@set -e; \
	for python in python3.13 python3.12 python3.11 python3; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then echo "Kept needs Python 3.11 or newer; python3 here is $$(python3 --version 2>&1)" >&2; exit 1; fi; \
	echo "setting up $(VENV) with $$($$found --version)"; \
	rm -f $(STAMP); \
	if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
		$$found -c 'import ensurepip' 2>/dev/null || scripts/system-parts.sh venv; \
		$$found -m venv --clear $(VENV); \
	fi; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	touch $(STAMP)

demo: setup ## run the main job on an example company (DEMO_ARGS="--no-serve --people 2000")
	$(BIN)/kept demo sitelucent --postgresql $(DEMO_ARGS)

check: setup ## lint, formatting, strict types, directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup ## put every file into the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup ## all tests, with the system parts they need (ARGS="-k erase -x")
	@scripts/system-parts.sh chromium mariadb
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

soak: setup ## every crash test, long: kills at each step and at random instants (ARGS="-k sqlite")
	@$(BIN)/python -m pytest tests/soak -s $(ARGS)

bench: setup ## every benchmark, its peers beside it (BENCH=ledger for one)
	@set -e; for name in $(BENCH); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name $(ARGS); done

lock: setup ## write requirements*.txt anew from pyproject.toml (ARGS="--upgrade")
	$(PIP_COMPILE) $(ARGS) --output-file requirements.txt pyproject.toml
	$(PIP_COMPILE) $(ARGS) --extra dev --output-file requirements-dev.txt pyproject.toml

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
