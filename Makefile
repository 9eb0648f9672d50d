# Two commands matter: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test regression bench bench-ui bench-audit chaos install install-dev lint types fmt lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: install ## run everything in one process on http://127.0.0.1:8000 (PORT=, HOST=, RESET=1)
	@exec $(BIN)/python manage.py demo

test: install-dev ## every check and test, on SQLite and on PostgreSQL
	@exec $(BIN)/python -m tests.run $(ARGS)

regression: install ## run the regression suites of the demonstration (ARGS="--repeat 5 --junit junit.xml")
	@$(BIN)/python manage.py migrate --verbosity 0
	@exec $(BIN)/python manage.py regression run $(ARGS)

bench: install-dev ## what a run costs, relative to the least that durable steps cost here (ARGS="--quick")
	@exec $(BIN)/python -m tests.bench $(ARGS)

bench-ui: install-dev ## what the desk costs with 100,000 proposals waiting, against a floor page (ARGS="--scale 0.1 --minutes 1")
	@exec $(BIN)/python -m tests.bench_ui $(ARGS)

bench-audit: install-dev ## what record and metrics cost with ten million events of a million runs (ARGS="--scale 0.1")
	@exec $(BIN)/python -m tests.bench_audit $(ARGS)

chaos: install-dev ## kill workers, connections and brokers under 1,000 runs, and see every promise kept (ARGS="--on redis")
	@exec $(BIN)/python -m tests.chaos $(ARGS)

install: ## make .venv with what running needs
	@$(PYTHON) agentops/bootstrap.py

install-dev: ## make .venv with what developing needs
	@$(PYTHON) agentops/bootstrap.py --dev

lint: install-dev ## style, imports, templates
	@exec $(BIN)/python -m tests.run --only ruff format imports templates

types: install-dev ## mypy, strict
	@exec $(BIN)/python -m tests.run --only types

fmt: install-dev ## rewrite code and templates in the house style
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

lock: install-dev ## resolve dependencies again and export them for pip (UPGRADE=1: to the newest allowed)
	$(BIN)/uv lock $(if $(UPGRADE),--upgrade)
	$(BIN)/uv export --frozen --quiet --no-dev --no-emit-project --no-header --output-file requirements.txt
	$(BIN)/uv export --frozen --quiet --no-emit-project --no-header --output-file requirements-dev.txt
	@$(PYTHON) agentops/bootstrap.py --dev

clean: ## remove caches (not .venv, not .data)
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis test-results
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
