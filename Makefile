# A fresh machine needs Python 3.11 or later with pip, gcc and make. Everything else is installed in .tool and .venv, from hashed locks.
PY ?= python3
ARGS ?=
export UV_PYTHON_DOWNLOADS := never

UV := .tool/bin/uv
PYTHON := .venv/bin/python
CORE := $(filter-out %/_built_from.py,$(sort $(wildcard src/zerosum/core/*.py)))
TYPED := $(wildcard src tests bench examples tools)
LOCK := $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup up test check format bench simulate simulate-mutants soak pure audit-dependencies sbom lock clean FORCE

help: ## Print this table
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.built ## Install everything and compile the core; quick when there is nothing to do (PY=python3.12 to choose one)

up: .venv/.built ## Run the exchange on this machine
	.venv/bin/zerosum up $(ARGS)

test: .venv/.built .tool/.spin .tool/.scan pure ## Run all tests on the compiled core, then those marked both_builds on the plain one
	$(PYTHON) -m pytest -q -n 2 --dist loadfile $(ARGS)
	ZEROSUM_PURE=1 PYTHONPATH=build/pure $(PYTHON) -m pytest -q -n 2 --dist loadfile -m both_builds $(ARGS)

check: .venv/.ok ## Check format, lint, types, who imports whom, and that no credential lies here
	.venv/bin/ruff format --check -q .
	.venv/bin/ruff check -q .
	.venv/bin/mypy $(TYPED)
	$(PYTHON) -m tools.scan_secrets
	PYTHONPATH=src .venv/bin/lint-imports --no-logo --cache-dir build/cache/import-linter

format: .venv/.ok ## Format the code, and mend what lint can
	.venv/bin/ruff check -q --fix-only .
	.venv/bin/ruff format .

bench: .venv/.built ## Measure the core: commands per second
	.venv/bin/zerosum bench core $(ARGS)

simulate: .venv/.built ## Run the cluster's roles in simulated worlds that fail (a minute; SEED=, STEPS=, LEAST= to choose)
	.venv/bin/zerosum simulate $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) $(if $(LEAST),--least $(LEAST)) $(ARGS)

simulate-mutants: .venv/.built ## Plant known faults in copies of the program, and see that the simulator finds each
	.venv/bin/zerosum simulate --mutants $(ARGS)

soak: .venv/.built ## Load the exchange, then a cluster that is killed piece by piece, 10 minutes each (ARGS='--minutes 600' for longer)
	.venv/bin/zerosum soak $(ARGS)
	.venv/bin/zerosum soak --cluster $(ARGS)

pure: ## Copy the package without its compiled modules to build/pure
	@rm -rf build/pure && mkdir -p build/pure && cp -R src/zerosum build/pure/
	@find build/pure -name '*.so' -delete

audit-dependencies: .venv/.built ## Hold every installed file against its record and the locks, and list licenses; needs no network
	$(PYTHON) -m tools.audit_dependencies

sbom: .venv/.built ## Write the bill of materials, build/sbom.json (CycloneDX)
	$(PYTHON) -m tools.sbom

lock: .tool/.ok ## Write the lock files anew (ARGS=--upgrade for the latest versions)
	$(LOCK) requirements/tool.in -o requirements/tool.lock
	$(LOCK) requirements/scan.in -o requirements/scan.lock
	$(LOCK) pyproject.toml -o requirements/run.lock
	$(LOCK) pyproject.toml --group dev -c requirements/run.lock -o requirements/dev.lock

clean: ## Remove what was built; .venv and .tool stay
	rm -rf build dist src/*.egg-info .venv/.built
	find src -name '*.so' -delete

# Checks the models in model/. A package of the system's, not one of Python's.
.tool/.spin: .tool/.ok
	@command -v spin > /dev/null || apt-get install -y -q spin > /dev/null || { apt-get update -q > /dev/null && apt-get install -y -q spin > /dev/null; } \
		|| { echo "zerosum's tests need spin: install it (on Debian the package spin), as root"; exit 1; }
	@touch $@

# Scans TLS, in an environment of its own: it asks for an older cryptography than runs here.
.tool/.scan: .tool/.ok requirements/scan.lock
	$(UV) venv -q --no-project --clear --python "$$(command -v $(PY))" .tool/scan
	$(UV) pip sync -q --python .tool/scan/bin/python --require-hashes requirements/scan.lock
	@touch $@

.tool/.ok: requirements/tool.lock
	@$(PY) -c 'import sys; sys.exit("zerosum needs Python 3.11 or later: make setup PY=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PY) -m venv --without-pip --clear .tool
	$(PY) -m pip --python .tool/bin/python install -q --require-hashes -r requirements/tool.lock
	@touch $@

.venv/.ok: .tool/.ok requirements/dev.lock
	@test -x $(PYTHON) || $(UV) venv -q --no-project --python "$$(command -v $(PY))" .venv
	$(UV) pip sync -q --python $(PYTHON) --require-hashes requirements/dev.lock
	@touch $@

# Its time stamp changes when a module joins or leaves the core; that one changed, make sees for itself.
.venv/.core: .venv/.ok FORCE
	@echo "$(CORE)" | cmp -s - $@ || echo "$(CORE)" > $@

.venv/.built: .venv/.ok .venv/.core pyproject.toml setup.py src/zerosum/build.py $(CORE)
	@echo "Compiling the core, which takes about half a minute ..."
	$(UV) pip install -q --python $(PYTHON) --no-build-isolation --no-deps --reinstall-package zerosum -e .
	@touch $@
