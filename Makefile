# Overread. `make help` lists the targets; only Python >= 3.11, make and a C compiler are needed beforehand.

PYTHON ?=
JOBS ?= 3
DATABASE ?= both
ARGS ?=

BIN := .venv/bin
DONE := .venv/done
STEP = @$(BIN)/python deploy/step.py
PIP := $(BIN)/python -m pip install --no-input --disable-pip-version-check --no-compile
LOCK = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --group build --extra triton
TORCH = $(shell sed -n 's/.*"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help install demo test check system lock triton-test-server clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 28

install: $(DONE)/project  ## .venv with everything needed to run; the command is then .venv/bin/overread

demo: install  ## a node, a stand-in PACS and phantom patients (ARGS=--exit ends after the deliveries)
	@$(BIN)/overread demo $(ARGS)

test: $(DONE)/develop $(DONE)/torch $(DONE)/triton system  ## the whole test suite (ARGS="-k words" for a part, JOBS=4, DATABASE=postgresql or sqlite)
	@$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --database $(DATABASE) $(ARGS)

check: $(DONE)/develop  ## format, lint, types, the layers' contracts
	$(STEP) "format" -- $(BIN)/ruff format --check .
	$(STEP) "lint" -- $(BIN)/ruff check .
	$(STEP) "types" -- $(BIN)/mypy
	$(STEP) "layers" -- $(BIN)/lint-imports --no-logo

system: $(DONE)/venv  ## the programs the tests use: installed where that is allowed, listed otherwise
	@$(BIN)/python deploy/system_packages.py

lock: $(DONE)/venv  ## resolve the dependencies anew (ARGS=--upgrade for newer versions)
	$(STEP) "uv" -- $(PIP) uv
	$(STEP) "requirements/runtime.txt" -- $(LOCK) $(ARGS) -o requirements/runtime.txt
	$(STEP) "requirements/develop.txt" -- $(LOCK) $(ARGS) -o requirements/develop.txt \
		-c requirements/runtime.txt --extra test --extra train --extra openvino --excludes requirements/unlocked.txt

triton-test-server: $(DONE)/triton  ## a real Triton server for the tests, from PyPI, in ~/.cache/overread

clean:  ## everything make has made; data folders stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DONE)/venv:
	@python=$$(sh deploy/find-python.sh $(PYTHON)) && echo "  virtual environment in .venv, from $$python" \
		&& "$$python" -m venv .venv && mkdir -p $(DONE) && touch $@

$(DONE)/runtime: requirements/runtime.txt | $(DONE)/venv
	$(STEP) "dependencies" -- $(PIP) -r requirements/runtime.txt
	@touch $@

$(DONE)/project: pyproject.toml $(DONE)/runtime
	$(STEP) "overread" -- $(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(DONE)/develop: requirements/develop.txt $(DONE)/project
	$(STEP) "dependencies of the tests" -- $(PIP) -r requirements/develop.txt
	@touch $@

# Wheels of torch differ between platforms, and so do their hashes: it is pinned by version alone.
$(DONE)/torch: requirements/unlocked.txt $(DONE)/develop
	$(STEP) "$(TORCH) (large)" -- $(PIP) $(TORCH)
	@touch $@

# In an environment of its own: Triton's python backend wants NumPy 1.
$(DONE)/triton: tests/triton/server.py requirements/runtime.txt $(DONE)/develop
	$(STEP) "Triton server, for the tests" -- $(BIN)/python -m tests.triton.server --install
	@touch $@
