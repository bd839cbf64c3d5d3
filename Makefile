# Each target makes the environment in .venv by itself when it is missing or older than the lock.
.DEFAULT_GOAL := help
.PHONY: help demo up test programs lint format bench training walkthrough deploying lock diagram clean

PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/ready
TRAINING := .venv/training
CONTAINER := .venv-container/ready
DEPLOY := .venv-deploy/ready
RUNTIME := .venv-runtime/ready
VALIDATORS := tests/validators/node_modules/ready

# The Python that runs Chalice is the one that the functions get. From 3.12 on, Lambda's is Amazon Linux 2023, which
# Pillow's wheels ask for.
DEPLOY_PYTHON ?= $(shell for python in python3.13 python3.12 $$HOME/.pyenv/versions/3.1[23]*/bin/python3; do \
	$$python -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$python && break; done)

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## See it work: classify sample pictures on this machine.
	$(BIN)/python -m local demo

up: $(READY) ## Start everything on this machine and stay until Ctrl-C.
	$(BIN)/python -m local up

test: $(READY) $(TRAINING) $(CONTAINER) $(VALIDATORS) programs $(if $(DEPLOY_PYTHON),$(DEPLOY) $(RUNTIME)) ## Run all tests.
	$(if $(DEPLOY_PYTHON),,@echo "There is no Python 3.12 or 3.13: what needs one is not tested. Name it with DEPLOY_PYTHON=.")
	$(BIN)/python $(if $(REQUIRE_ALL),tests/api/nothing_left_out.py,-m pytest)

# What tests need that neither PyPI nor npm has.
programs:
	@missing=; \
	for name in chromium chromium-browser google-chrome missing; do command -v $$name >/dev/null && break; done; \
	[ $$name != missing ] || missing=" chromium"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && grep -qsx ID=debian /etc/os-release; then \
		echo "Installing$$missing, once."; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install --yes --no-install-recommends $$missing >/dev/null && exit 0; \
	fi; \
	echo "Not here, and not installed, which takes root on Debian:$$missing."; \
	echo "Left out are tests/browser without chromium, and tests/api/test_curl.py without curl."

lint: $(READY) $(TRAINING) ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Mend style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## Measure: shrinking, the whole workflow, the import.
	$(BIN)/python -m benchmarks

training: $(READY) $(TRAINING) ## Install what `python -m training` needs.
	@echo "Ready: $(BIN)/python -m training --help"

walkthrough: $(READY) $(TRAINING) ## Run training/walkthrough.ipynb on this machine, from pictures to an endpoint and back.
	$(BIN)/python -m local run $(BIN)/jupyter-execute --inplace training/walkthrough.ipynb

diagram: $(READY) ## Draw the workflow from statemachine.json, for the docs and for the page.
	$(BIN)/python -m local diagram

deploying: $(DEPLOY) ## Install what deploying needs; takes Python 3.12 or newer.
	@echo "Ready: .venv-deploy/bin/python -m infrastructure --help"

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"

lock: $(READY) ## Pin what each requirements.in and requirements-dev.in need, with hashes, in the .txt beside it.
	$(LOCK) --python-version 3.11 --output-file training/requirements.txt training/requirements.in
	$(LOCK) --python-version 3.11 --output-file requirements-dev.txt requirements-dev.in
	$(LOCK) --python-version 3.12 --constraint requirements-dev.txt \
		--output-file requirements-deploy.txt requirements-deploy.in
	$(LOCK) --python-version 3.12 --no-deps \
		--output-file tests/runtime/requirements.txt tests/runtime/requirements.in
	$(LOCK) --python-version 3.11 --overrides tests/containers/overrides.txt \
		--output-file tests/containers/requirements.txt tests/containers/requirements.in

clean: ## Remove the environments and what tools have left.
	rm -rf .venv .venv-* tests/validators/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

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

# CC=true leaves out the one compiled module of the toolkits, see tests/containers/gethostname.py.
$(CONTAINER): tests/containers/requirements.txt | $(READY)
	@echo "Making AWS's side of a container in .venv-container, about 400 MB; this takes half a minute, once."
	@rm -rf .venv-container
	@$(PYTHON) -m venv .venv-container
	@CC=true $(BIN)/uv pip install --quiet --python .venv-container --no-deps --require-hashes \
		--build-constraints tests/containers/requirements.txt --requirement tests/containers/requirements.txt
	@touch $@

$(DEPLOY): requirements-deploy.txt
	@test -n "$(DEPLOY_PYTHON)" || { echo "Deploying takes Python 3.12 or newer: name one with DEPLOY_PYTHON=." >&2; exit 1; }
	@echo "Making the environment for deploying in .venv-deploy; this takes a quarter of a minute, once."
	@rm -rf .venv-deploy
	@$(DEPLOY_PYTHON) -m venv .venv-deploy
	@.venv-deploy/bin/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements-deploy.txt
	@touch $@

$(RUNTIME): tests/runtime/requirements.txt | $(READY)
	@echo "Making AWS's side of a Lambda function in .venv-runtime; this takes a quarter of a minute, once."
	@rm -rf .venv-runtime
	@$(DEPLOY_PYTHON) -m venv .venv-runtime
	@$(BIN)/uv pip install --quiet --python .venv-runtime --no-deps --compile-bytecode --require-hashes \
		--requirement tests/runtime/requirements.txt
	@touch $@

$(VALIDATORS): tests/validators/package-lock.json
	@echo "Installing the validators of state machines and of the page; this takes a few seconds, once."
	@npm ci --silent --no-audit --no-fund --ignore-scripts --prefix tests/validators
	@touch $@
