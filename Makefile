# Covalue. A fresh machine needs Python 3.11 (or 3.12), Node 20 and make; the rest is set up here.
#
#   make demo [DATA=rows.csv TARGET=column] [ARGS=--serve]   the whole loop, in a few minutes
#   make test                                                everything that must hold
#
# PYTHON=path        the interpreter to build .venv from
# TORCH_PIP_ARGS=... further arguments for `pip install torch`, such as an index of CPU builds

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?=
TORCH_PIP_ARGS ?=
DATA ?=
TARGET ?=
ARGS ?=
SUITE ?=
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2
BIN := .venv/bin
ROOMS := audit cli dao demo fl_client fl_server inference privacy rewards rounds valuation

# What the tests need beyond Python and Node, as command=package. Empty until it is tested.
TEST_PACKAGES :=

# Arithmetic that is recorded is single-threaded; nothing here phones home.
export OMP_NUM_THREADS := 1
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: help demo test lint types direction contracts contracts-check bundle-check forge pytest \
        bench faults gas mutants forge-deep setup setup-demo need wheel clean distclean
.DEFAULT_GOAL := help

help:
	@sed -n '3,8s/^# \{0,1\}//p' Makefile
	@echo "also: make lint | contracts | bench | faults | mutants | gas | forge-deep | wheel | setup | clean | distclean"

# --- set-up: stamps make the second run instant ---------------------------------------------

setup: .stamps/dev .stamps/node
setup-demo: .stamps/demo .stamps/node

.stamps/dev: pyproject.toml tools/setup_python.sh
	@PYTHON="$(PYTHON)" TORCH_PIP_ARGS="$(TORCH_PIP_ARGS)" tools/setup_python.sh dev
	@touch .stamps/demo .stamps/dev

.stamps/demo: pyproject.toml tools/setup_python.sh
	@PYTHON="$(PYTHON)" TORCH_PIP_ARGS="$(TORCH_PIP_ARGS)" tools/setup_python.sh demo
	@touch .stamps/demo

.stamps/node: package.json package-lock.json tools/setup_node.sh
	@tools/setup_node.sh
	@touch .stamps/node

need:
	@tools/need.sh $(TEST_PACKAGES)

# --- what a newcomer runs -------------------------------------------------------------------

demo: setup-demo
	@$(BIN)/covalue demo $(if $(DATA),--data "$(DATA)") $(if $(TARGET),--target "$(TARGET)") $(ARGS)

# pytest runs last: its closing line is the verdict.
test: need setup
	@$(MAKE) lint
	@$(MAKE) contracts-check bundle-check forge
	@$(MAKE) pytest

# --- the parts of `make test` ---------------------------------------------------------------

lint: .stamps/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

contracts: .stamps/node
	node contracts/build.mjs
	node contracts/forge.mjs build

contracts-check: .stamps/node
	node contracts/build.mjs --check

bundle-check: .stamps/dev
	$(BIN)/python -m fl_client.bundle.build --check

# The tests compare what transactions cost with contracts/gas; `make gas` writes that anew.
forge: .stamps/node
	node contracts/forge.mjs fmt --check
	node contracts/forge.mjs test

# Half of the time of one process is waiting for others: chains, daemons, federations.
pytest: setup
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

# --- further --------------------------------------------------------------------------------

# SUITE=learning for one suite; what was measured before is kept (ARGS=--fresh measures again).
bench: setup
	$(BIN)/python -m bench.suite $(SUITE) $(ARGS)

# Writes contracts/gas: what transactions cost, as forge measures them one by one.
gas: .stamps/node
	FORGE_SNAPSHOT_CHECK=false FORGE_SNAPSHOT_EMIT=true \
	    node contracts/forge.mjs test --match-contract GasTest

# Shows for each mutant of contracts/mutants that a test notices it.
mutants: setup
	$(BIN)/python -m bench.contract_mutants $(ARGS)

# Long walks and many fuzz runs; an hour or more.
forge-deep: .stamps/node
	FOUNDRY_PROFILE=deep node contracts/forge.mjs test --match-test '^(testFuzz_|invariant_)'

# Plants each fault of tests/faults into a copy of the tree and shows its promise's test failing.
faults: setup
	$(BIN)/python tests/faults/run.py

wheel: .stamps/dev
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf build dist out cache *.egg-info demo-out \
	    .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(ROOMS) tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv node_modules .stamps
