# Every target makes .venv by itself, from any Python of 3.11 or later, and installs exactly what its lock names:
# requirements-runtime.lock for `demo` and `up`, requirements.lock for the rest, requirements-docs.lock on top of it for `check`
# and `docs`.
# Needed: make, Python with venv. Not needed: root, Docker, Postgres, Redis, uv.

SHELL := /bin/sh
# Without bytecode each process spends two seconds on compiling what it imports.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
# What runs Carillon is there; what its tests need as well.
RUNTIME := $(VENV)/.runtime
READY := $(VENV)/.ready
DOCS := $(VENV)/.docs
QUIETLY := -qq --disable-pip-version-check
# A lock is whole, so pip resolves nothing; Python compiles what it imports.
LOCKED := $(QUIETLY) --no-deps --no-compile --require-hashes
# The variable silences an announcement about the theme's future.
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python

# The lock is resolved for all platforms and for 3.11 and later.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-package carillon-push

# What needs no engine, and no process but that of import-linter.
FAST := tests/unit tests/test_floors.py tests/test_promises.py
# Each process has engines of its own, and takes the next file in the order of tests/conftest.py.
CORES := -n logical --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo up test test-fast check docs audit format bench chaos lock clean

help: ## Show what there is
	@echo "Carillon. Targets:"
	@sed -n 's/^\([a-z-]*\):.*## /  \1	/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

install: $(READY) ## Make .venv with everything in it

# A failed installation leaves no stamp, so the next run tries again.
$(RUNTIME): requirements-runtime.lock pyproject.toml producers/pyproject.toml
	@if [ ! -x $(BIN)/python ]; then \
		for candidate in $(PYTHON) $(CANDIDATES); do \
			if command -v $$candidate >/dev/null 2>&1 && \
				$$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
				found=$$candidate; break; \
			fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Carillon needs Python 3.11 or later with its venv module, and none of these is that: $(CANDIDATES)." >&2; \
			echo "Install one (on Debian: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python" >&2; \
			exit 1; \
		fi; \
		echo "making $(VENV) with $$($$found --version)"; \
		$$found -m venv $(VENV); \
	fi
	@echo "installing what requirements-runtime.lock names"
	@$(BIN)/python -m pip install $(LOCKED) -r requirements-runtime.lock
	@# Up to 0.1.0 both were one distribution, `carillon`.
	@$(BIN)/python -m pip uninstall $(QUIETLY) --yes carillon
	@$(BIN)/python -m pip install $(QUIETLY) --no-deps --no-build-isolation --editable ./producers --editable .
	@touch $(RUNTIME)

$(READY): requirements.lock $(RUNTIME)
	@echo "installing what requirements.lock names"
	@$(BIN)/python -m pip install $(LOCKED) -r requirements.lock
	@touch $(READY)

$(DOCS): requirements-docs.lock $(READY)
	@echo "installing what requirements-docs.lock names"
	@$(BIN)/python -m pip install $(LOCKED) -r requirements-docs.lock
	@touch $(DOCS)

demo: $(RUNTIME) ## Watch real chat traffic go to simulators of push services, with an account of every device
	@$(BIN)/carillon demo

up: $(RUNTIME) ## Run the whole system on embedded engines until Ctrl-C
	@$(BIN)/carillon up

test: $(READY) ## Run every test, the longest first
	@$(BIN)/python -m pytest -q $(CORES)

test-fast: $(READY) ## Run the unit tests and what holds the structure: under a minute
	@$(BIN)/python -m pytest -q -m "not slow" $(CORES) $(FAST)

check: $(DOCS) ## Formatting, lint, types, imports, the documentation, and what is installed: as locked, by hash, under licences that allow it
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/unit/project/test_dependencies.py
	@$(SITE)

docs: $(DOCS) ## Build the documentation as a site in build/site; a warning is an error
	@$(SITE)
	@echo "open build/site/index.html"

audit: $(READY) ## Look for known vulnerabilities in what is locked; fails where the database on the network did not answer
	@$(BIN)/python -m venv build/audit
	@build/audit/bin/python -m pip install -qq --disable-pip-version-check pip-audit
	@for lock in requirements.lock requirements-docs.lock; do \
		build/audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement $$lock || exit 1; \
	done

format: $(READY) ## Put the code in its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only .

bench: $(READY) ## Measure; figures and their meaning are in docs/benchmarks.md
	@for benchmark in publish pipeline latency memory scale capacity sender "sender --latency 50" "sender --memory"; do \
		echo "== benchmarks.$$benchmark"; $(BIN)/python -m benchmarks.$$benchmark --json || exit 1; \
	done

chaos: $(READY) ## Break the whole system for 20 minutes while it works; the report is docs/reliability.md
	@$(BIN)/python -m tests.chaos --seconds 1200 --scale 1 --report

lock: ## Resolve the dependencies anew (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(COMPILE) pyproject.toml --upgrade --all-extras --group dev --output-file requirements.lock
	$(COMPILE) pyproject.toml --constraint requirements.lock --extra embedded --group build --output-file requirements-runtime.lock
	$(COMPILE) pyproject.toml --constraint requirements.lock --group build --output-file requirements-worker.lock
	$(COMPILE) --upgrade --constraint requirements.lock --group docs --output-file requirements-docs.lock

clean: ## Remove what was generated, the data directory and .venv included
	rm -rf $(VENV) .carillon .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info producers/build producers/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
