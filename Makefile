# Everything is cached outside the tree. A fresh machine needs Debian 12, root, Go and Python 3.11.
SHELL := /bin/bash -o pipefail
CACHE := $(or $(TUNECAST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tunecast)
VENV := $(CACHE)/venv-$(shell sha256sum requirements.lock | cut -c1-12)
PYTHON := $(VENV)/bin/python
READY := $(VENV)/ready
UV := $(CACHE)/uv/bin/uv
export PYTHONPATH := operator:tuner:core:initcontainer:tests
export MYPY_CACHE_DIR := $(CACHE)/mypy
export RUFF_CACHE_DIR := $(CACHE)/ruff

RUNS := 75000

.PHONY: demo demo-down test unit integration processes servers e2e fuzz lint format crds lock venv

demo:  ## Runs the demo on a real cluster. CONTEXT=<kubectl context> uses a cluster of your own.
	python3 examples/demo/demo.py

demo-down:  ## Removes the demo's cluster.
	python3 tests/cluster down

test: unit integration e2e  ## Runs every test.

unit: $(READY)
	$(PYTHON) -m pytest tests/unit -q

integration: $(READY)  ## Runs the integration tests on a real API server and a real S3 server, in two parallel halves.
	$(PYTHON) -c 'from harness import deploy; deploy.build()'
	$(MAKE) --no-print-directory --jobs=2 --output-sync processes servers

processes: $(READY)  # Tests of ranks as real processes.
	TUNECAST_ENGINE_DIR="$$(python3 tests/cluster engine)" $(PYTHON) -m pytest tests/integration/test_ranks*.py

servers: $(READY)  # All other integration tests, and those of the test cluster.
	$(PYTHON) -m pytest tests/cluster tests/integration --ignore-glob='*/test_ranks*.py'

e2e: $(READY)  ## Runs the end-to-end tests on a real cluster, with the images, Helm and a real vLLM.
	$(PYTHON) -m pytest tests/e2e

fuzz: $(READY)  ## Fuzzes each reader of untrusted bytes, guided by coverage, for RUNS executions.
	$(PYTHON) -c 'from fuzz.targets import TARGETS; print(*TARGETS, sep="\n")' | \
	    xargs --max-procs=2 --replace $(PYTHON) -m fuzz {} -runs=$(RUNS)

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy --strict operator/tunecast_operator tuner/tunecast_tuner core/tunecast_core initcontainer/tunecast_init tests bench
	$(VENV)/bin/lint-imports --no-cache
	$(PYTHON) -m tunecast_operator.api.crd --check

format: $(READY)
	$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .

crds: $(READY)  ## Writes the CRDs from the typed models.
	$(PYTHON) -m tunecast_operator.api.crd --write

LOCK := $(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

lock: $(UV)  ## Pins all dependencies with their hashes, in one file for development and in one for each image.
	$(LOCK) --group pyproject.toml:dev operator/pyproject.toml initcontainer/pyproject.toml --output-file requirements.lock
	for package in operator initcontainer; do \
	    $(LOCK) --constraint requirements.lock $$package/pyproject.toml --output-file $$package/requirements.lock; done

venv: $(READY)
$(READY):  # Its path holds the lock file's digest, so it is never outdated. Two checkouts may create it at the same time.
	mkdir -p $(CACHE)
	flock $(VENV).lock bash -ec 'test -e $@ || { rm -rf $(VENV); python3 -m venv $(VENV); \
	    $(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; touch $@; }'

$(UV):
	python3 -m venv $(CACHE)/uv && $(CACHE)/uv/bin/pip install --quiet uv
