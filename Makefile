# `make` prints a help. There are two environments: .venv for the project, and .venv-dvc for the `dvc` command, which
# cannot be installed beside Dagster (docs/decisions/001-isolated-dvc.md).

PYTHON ?= python3
# Not ?=: the environment of a shell may have a MODEL of something else.
MODEL = sidewalk_detector
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo fleet-demo ui test test-cluster test-jetson check format repro bench clean

help:  ## Print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.ready .venv-dvc/.ready $(BIN)/dvc  ## Create both environments

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is too old; needed Python 3.11 or newer; fix: make setup PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cluster,training,dev,tensorrt-rtx]'
	@touch $@

.venv-dvc/.ready:
	$(PYTHON) -m venv .venv-dvc
	.venv-dvc/bin/python -m pip install --quiet --disable-pip-version-check 'dvc[s3]==3.67.1'
	@touch $@

$(BIN)/dvc: $(VENV)/.ready .venv-dvc/.ready
	ln -sf ../../.venv-dvc/bin/dvc $@

demo: setup  ## Build everything from simulated images to a checked int8 engine, by default of MODEL=sidewalk_detector
	@robot-assets build '$(MODEL)'

fleet-demo: setup  ## After make demo: release its engine to three simulated robots, refuse a bad release, recall one
	robot-assets fleet demo

ui: setup  ## Open the Dagster UI on 127.0.0.1:3000
	robot-assets ui

test: setup  ## Run the tests
	pytest -n 2 --dist loadfile --no-loadscope-reorder

test-cluster: setup  ## Run the tests on the cluster of KUBECONFIG
	CLUSTER_TESTS=required pytest tests/on_cluster

test-jetson:  ## On a Jetson: test TensorRT engines on the device itself (docs/jetson.md)
	pytest tests/on_jetson

check: setup  ## Lint, types and layers
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: setup  ## Format the code
	ruff check --fix .
	ruff format .

repro: setup  ## Run the data stages without Dagster: dvc repro
	dvc repro

bench: setup  ## Run every benchmark, and list those that missed a bound
	@missed=; for script in benchmarks/*.py; do \
	  module=benchmarks.$$(basename $$script .py); \
	  echo "== $$module"; python -m $$module || missed="$$missed $$module"; \
	done; test -z "$$missed" || { echo "missed:$$missed" >&2; exit 1; }

clean:  ## Remove caches and scratch (environments, instance and store stay)
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .robot_assets/work
