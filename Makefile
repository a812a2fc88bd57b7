# Everything is cached outside the tree; a fresh machine needs Debian 12, root, Go and Python 3.11.
SHELL := /bin/bash
CACHE ?= $(or $(TUNECAST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tunecast)
VENV := $(CACHE)/venv-$(shell sha256sum requirements.lock | cut -c1-12)
PYTHON := $(VENV)/bin/python
ROOTS := operator:tuner:cache:initcontainer:tests
export PYTHONPATH := $(ROOTS)

.PHONY: demo demo-down test unit integration e2e lint crds lock venv

venv: $(PYTHON)
$(PYTHON):
	$(VENV)/bin/pip install -q --require-hashes -r requirements.lock
