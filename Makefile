# All targets use .venv. The first target that needs it creates it.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PURE := --rcfile=tests/pure/coverage.toml

.DEFAULT_GOAL := help
.PHONY: help install lint test pure cover docs soak demo bench dist check clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

install: $(READY)  ## Create .venv with batchswap and all packages for the demo and the tests

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "batchswap needs Python 3.11 or newer; this is $$($(PYTHON) -V). Choose another: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[proof,report,provenance,demo,dev]'
	@touch $@

lint: $(READY)  ## Check format, lint rules and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: pure  ## Run all tests except the long ones
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup --ignore tests/pure

pure: $(READY)  ## Run the tests of the code without I/O, with full branch coverage
	$(BIN)/coverage erase $(PURE)
	$(BIN)/coverage run $(PURE) -m pytest -n auto --maxprocesses 4 tests/pure
	$(BIN)/coverage combine --quiet $(PURE)
	$(BIN)/coverage report $(PURE)

soak: $(READY)  ## Run hundreds of random nights with faults and crashes (a few minutes)
	CHAOS_PROFILE=soak timeout 590 $(BIN)/python -m pytest -n auto --maxprocesses 4 tests/chaos

cover: $(READY)  ## Run the tests with branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: $(READY)  ## Bring the tables and the examples of the documentation up to date with the code
	$(BIN)/python -m tests.docs --write

check: lint cover  ## Run lint and cover

demo: $(READY)  ## Swap faces in real videos with the local provider
	@$(BIN)/python -m manifests.demo
	@test -d demo/keys || $(BIN)/batchswap sign init demo/keys
	$(BIN)/batchswap run manifests/demo.csv manifests/demo.yaml --provider local --db demo/batchswap.db \
		--out demo/results --sign demo/keys --report demo/report.html --pictures all
	$(BIN)/batchswap verify --db demo/batchswap.db --out demo/results

bench: $(READY)  ## Compare the speed with other programs (about fourteen minutes)
	@$(BIN)/python -m tests.benchmarks

dist: $(READY)  ## Build the wheel, the sdist and the man pages in dist/, check them, and use them alone
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m tests.packages

clean:  ## Remove all files that these targets made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* demo dist build *.egg-info
