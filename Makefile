# Each target makes the environment in .venv by itself when it is missing or older than the lock.
.DEFAULT_GOAL := help
.PHONY: help demo up test lint format bench lock diagram clean

PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready
TRAINING := .venv/training

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## See it work: classify sample pictures on this machine.
	$(BIN)/python -m local demo

up: $(READY) ## Start everything on this machine and stay until Ctrl-C.
	$(BIN)/python -m local up

test: $(READY) $(TRAINING) ## Run all tests.
	$(BIN)/python -m pytest

lint: $(READY) $(TRAINING) ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Mend style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure: shrinking, the whole workflow, the import.
	$(BIN)/python -m benchmarks

diagram: $(READY) ## Draw docs/workflow.svg from statemachine.json.
	$(BIN)/python -m local diagram

LOCK := $(BIN)/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"

lock: $(READY) ## Pin what training/requirements.in and requirements-dev.in need, with hashes, in the .txt beside each.
	$(LOCK) --output-file training/requirements.txt training/requirements.in
	$(LOCK) --output-file requirements-dev.txt requirements-dev.in

clean: ## Remove the environment and what tools have left.
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

$(READY): requirements-dev.txt
	@echo "Making the environment in .venv; this takes a minute or two, once."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

$(TRAINING): training/requirements.txt $(READY)
	@echo "Adding what training needs, about 1 GB; this takes a minute or two, once."
	@$(BIN)/uv pip install --quiet --python .venv --require-hashes --requirement training/requirements.txt
	@touch $@
