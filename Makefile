# Every target sets up what it needs, from any folder, without an activated environment.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: install run test life check format lock services help

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# The newest Python that starts and is new enough; a version manager's stand-in for a missing one starts nothing.
PYTHONS := python3.13 python3.12 python3.11 python3
IS_USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

# Arguments for `make run` and `make test`, as in `make test ARGS="tests/unit -k number"`.
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

install: $(INSTALLED) ## set up .venv, with the command .venv/bin/fuma

$(INSTALLED): requirements.lock pyproject.toml
	@if ! $(BIN)/python -c '$(IS_USABLE)' 2>/dev/null; then \
		found=""; for python in $(PYTHONS); do \
			if "$$python" -c '$(IS_USABLE)' 2>/dev/null; then found="$$python"; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "make: needs Python 3.11 or newer with venv (on Debian: apt-get install python3-venv)" >&2; exit 1; \
		fi; \
		echo "setting up $(VENV) with $$("$$found" --version)"; \
		"$$found" -m venv --clear $(VENV); \
	fi
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## the main job, everything embedded: a realistic mix of requests, a summary, an audit
	$(BIN)/fuma demo $(ARGS)

test: install services check ## all tests, with a RabbitMQ and a PostgreSQL of their own
	$(BIN)/python -m pytest $(ARGS)

life: install ## the whole life of a number at random against a model; minutes, and not yet part of `make test`
	$(BIN)/python -m pytest tests/integration/life/play_life.py tests/integration/life/play_mutants.py $(ARGS)

services:
	@sh tests/support/ensure_services.sh

check: install ## formatter, linter, types, import directions, YAML
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

format: install ## let the tools change what they can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# No file may name an index: each machine has its own.
COMPILE := $(VENV)/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header

lock: install ## choose the newest versions that pyproject.toml allows, with their hashes
	@$(BIN)/python -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet uv
	$(COMPILE) --group dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraints requirements.lock --output-file requirements-runtime.lock pyproject.toml

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
