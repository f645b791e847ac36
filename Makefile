# make demo    simulate particles, refine them, and compare with the truth
# make setup   install into .venv, at the pinned versions
# make test    pass the tests, on every core; make test SUITE="slow and not gpu" those that take longer
# make faults  200 faults of small refinements, each judged by the bytes in the end
# make fuzz    a million damaged files, each read or refused in words
# make wheel   what users install with pip, in dist/
# make docs    the pages of docs/ as a site, in site/
# make lint    style, types, direction of imports
# A machine without a GPU saves 3 GB with
#   make setup PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
BIN := $(VENV)/bin
SUITE ?= not slow and not gpu
# Workers of one thread, as many as there are cores. Each begins with a stretch of neighbours, which share what a module
# makes once; one that has no more takes of another's.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal
STAMP := $(VENV)/.blush-installed

.PHONY: demo setup test lint faults fuzz wheel docs reference

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e ".[dev,docs]"
	touch $@

demo: setup results/demo_particles/simulation.json
	$(BIN)/blush run config/demo.yaml
	$(BIN)/python scripts/print_demo.py results/demo

results/demo_particles/simulation.json: config/simulate_demo.yaml | setup
	$(BIN)/blush simulate $<

test: setup
	$(PYTEST) -m "$(SUITE)"

faults: setup
	$(BIN)/python scripts/faults.py --count 160 --workflow 40

fuzz: setup
	$(BIN)/python scripts/fuzz.py --cases 1000000

wheel: setup
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

docs: setup
	$(BIN)/python -m mkdocs build --strict

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/snakefmt --check Snakefile workflow

# What is generated from the configuration models; a test fails when it is stale.
reference: setup
	$(BIN)/python -m blush.config.reference markdown > docs/configuration.md
	$(BIN)/python -m blush.config.reference defaults > config/config.yaml
	$(BIN)/python -m blush.config.reference schema > workflow/schemas/config.schema.json
	$(BIN)/python -m blush.config.reference training-markdown > docs/training-configuration.md
	$(BIN)/python -m blush.config.reference training-defaults > config/train_default.yaml
