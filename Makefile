# Every target sets up what it needs, from any folder, without an activated environment.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: install run test bench bench-quick chaos check format lock services fuzz help tools mutate audit-deps sbom licences lint-alerts

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
BENCH_VENV := .venv-bench
BENCH_INSTALLED := $(BENCH_VENV)/installed

# The newest Python that starts and is new enough; a version manager's stand-in for a missing one starts nothing.
PYTHONS := python3.13 python3.12 python3.11 python3
IS_USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

# Arguments for `make run` and `make test`, as in `make test ARGS="tests/unit -k number"`.
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

install: $(INSTALLED) ## set up .venv, with the command .venv/bin/fuma

# Makes the environment $(1), unless one is there that works.
define NEW_ENVIRONMENT
@if ! $(1)/bin/python -c '$(IS_USABLE)' 2>/dev/null; then \
	found=""; for python in $(PYTHONS); do \
		if "$$python" -c '$(IS_USABLE)' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "make: needs Python 3.11 or newer with venv (on Debian: apt-get install python3-venv)" >&2; exit 1; \
	fi; \
	echo "setting up $(1) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(1); \
fi
endef

$(INSTALLED): requirements.lock pyproject.toml
	$(call NEW_ENVIRONMENT,$(VENV))
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## the main job, everything embedded: a realistic mix of requests, a summary, an audit
	$(BIN)/fuma demo $(ARGS)

test: install services check ## all tests, with a RabbitMQ and a PostgreSQL of their own
	$(BIN)/python -m pytest $(ARGS)

chaos: install services ## workers under 500 faults and 200,000 requests, then a check of all that is left; half an hour
	$(BIN)/python -m tests.support.chaos $(ARGS)

fuzz: install ## hostile messages and answers by the hundred thousand; ARGS="--cases N --seed N"
	$(BIN)/python -m tests.support.hostile $(ARGS)

bench: $(BENCH_INSTALLED) services ## Fuma beside its peers and ceilings, on servers of its own: 25 minutes, docs/performance.md
	$(BENCH_VENV)/bin/python -m bench $(ARGS)

bench-quick: $(BENCH_INSTALLED) services ## the ratios alone, within five minutes
	$(BENCH_VENV)/bin/python -m bench --plan quick $(ARGS)

# The peers and what draws the plot are no business of the tests' environment.
$(BENCH_INSTALLED): requirements-bench.lock
	$(call NEW_ENVIRONMENT,$(BENCH_VENV))
	$(BENCH_VENV)/bin/python -m pip install --quiet --require-hashes --requirement requirements-bench.lock
	@touch $@

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
	$(COMPILE) --constraints requirements.lock --group bench --output-file requirements-bench.lock pyproject.toml
	$(COMPILE) --constraints requirements.lock --group tools --output-file requirements-tools.lock pyproject.toml

# What looks at the dependencies lives apart from what they are used by.
TOOLS := .venv-tools
RUNTIME := $(TOOLS)/runtime
PROMTOOL := $(or $(shell command -v promtool 2>/dev/null),$(TOOLS)/prometheus/usr/bin/promtool)

tools: install $(TOOLS)/installed

$(TOOLS)/installed: requirements-tools.lock
	$(BIN)/python -m venv --clear $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --require-hashes --requirement requirements-tools.lock
	@touch $@

audit-deps: tools ## known faults of the locked packages; exit 2 where no advisory service could judge them
	$(TOOLS)/bin/python tools/audit_dependencies.py requirements-runtime.lock requirements.lock \
		requirements-bench.lock requirements-tools.lock

mutate: tools ## break the pure decisions a thousand times, and see that their tests notice (docs/mutation.md)
	$(TOOLS)/bin/python tests/mutation/make_mutants.py schemas/invoice_number.py schemas/taxpayer_id.py \
		$(filter-out worker/decisions/__init__.py,$(wildcard worker/decisions/*.py)) >$(TOOLS)/mutants.jsonl
	$(BIN)/python tests/mutation/run_mutants.py $(TOOLS)/mutants.jsonl

sbom: tools ## build/sbom.cdx.json: what an image contains, in CycloneDX 1.6
	$(BIN)/python -m venv --clear --without-pip $(RUNTIME)
	$(BIN)/python -m pip --python $(RUNTIME)/bin/python install --quiet --require-hashes \
		--requirement requirements-runtime.lock
	@mkdir -p build
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --spec-version 1.6 --output-reproducible \
		--validate --output-format JSON --output-file build/sbom.cdx.json $(RUNTIME)/bin/python

licences: install ## write docs/licences.md anew from what is locked
	$(BIN)/python -m tools.licences

# Debian's package is unpacked, not installed: nothing is started.
$(TOOLS)/prometheus/usr/bin/promtool:
	@mkdir -p $(TOOLS)/prometheus
	cd $(TOOLS)/prometheus && apt-get download -qq prometheus && dpkg-deb --extract prometheus_*.deb .

lint-alerts: install $(PROMTOOL) ## Prometheus' own look at its files, and at the dashboard's expressions
	$(PROMTOOL) check config --syntax-only deploy/prometheus/prometheus.yml
	$(PROMTOOL) check rules deploy/prometheus/alerts.yml
	@mkdir -p build
	$(BIN)/python -m tools.dashboard_rules >build/dashboard.yml
	$(PROMTOOL) check rules build/dashboard.yml

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
