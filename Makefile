# Every target sets up what it needs by itself: see ./espcli. `make` alone says what there is.

PYTHON := .venv/bin/python
# Tests wait more than they compute: three workers more than there are cores.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 3)
# They start some hundred processes, each of which would compile the same again.
export PYTHONDONTWRITEBYTECODE =
# Tests of whatever meets in Redis.
ON_REDIS := tests/store tests/services tests/workers tests/gateway tests/simulator

.PHONY: help setup run test check lint types bench arrangements chaos fuzz soak lock clean

help:  ## Say what each target does
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1 \2/p' $(MAKEFILE_LIST) | awk '{ printf "  %s %-6s ", $$1, $$2; $$1 = $$2 = ""; print }'

run:  ## Start the whole fleet on this machine (= ./espcli up)
	@./espcli up

test: setup  ## Run the tests on all cores; ARGS="-k name" passes on to pytest
	@$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types test  ## Run all checks: lint, types, test

lint: setup  ## Check style and formatting
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .

types: setup  ## Check types
	@$(PYTHON) -m mypy

bench: setup  ## Measure every promise and store the results; BENCH="levels streams" only some
	@$(PYTHON) -m bench.run $(BENCH)

arrangements: setup  ## Run the tests of the main job behind a Sentinel, then on a Cluster of six servers
	@TESTS_ON=sentinel $(PYTHON) -m pytest -n 3 --dist loadfile $(ON_REDIS) tests/machines/test_partition.py $(ARGS)
	@TESTS_ON=cluster $(PYTHON) -m pytest -n 3 --dist loadfile $(ON_REDIS) $(ARGS)

chaos: setup  ## Break a whole fleet at random; DURATION_S=3600 LAMPS=300 SEED=7 ON=sentinel (or cluster)
	@$(PYTHON) -m tests.chaos.run --duration-s $(or $(DURATION_S),300) --lamps $(or $(LAMPS),300) --on $(or $(ON),single) $(if $(SEED),--seed $(SEED))

fuzz: setup  ## Search parsers for input that breaks them, with the package atheris; PARSER="protocol 1" SECONDS=600
	@$(PYTHON) -m tests.attack.by_coverage $(if $(PARSER),"$(PARSER)",all) -max_total_time=$(or $(SECONDS),30)

soak: setup  ## Run a whole fleet for HOURS=8 and draw what it uses into build/soak
	@$(PYTHON) -m tests.chaos.soak --hours $(or $(HOURS),8) --lamps $(or $(LAMPS),300)

lock: setup  ## Write Pipfile.lock anew from the Pipfile
	@.ci/lock

setup:  ## Build .venv with the tools of developers
	@./espcli setup --dev

clean:  ## Remove .venv, .tools and caches; the data of the fleet stays
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
