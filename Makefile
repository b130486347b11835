# Two commands are enough: `make run` and `make test`. Both install what they need into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help run test check demo format clean bench-startup bench-serving bench-scale

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

$(VENV)/.run: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@echo "Installing agent-memory-server into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.run
	@echo "Installing development tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

run: $(VENV)/.run ## Start the REST server on http://127.0.0.1:8000 with the embedded engine
	@exec $(BIN)/agent-memory api

test: $(VENV)/.dev ## Run every test
	@$(BIN)/python -m pytest

check: $(VENV)/.dev ## Lint, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright --warnings
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

demo: $(VENV)/.run ## A real conversation in, five questions out
	@$(BIN)/python -m examples.demo

bench-startup: $(VENV)/.dev ## Install size, start time, idle memory
	@$(BIN)/python -m benchmarks.startup

bench-serving: $(VENV)/.dev ## Requests per second and latency of a real server
	@$(BIN)/python -m benchmarks.serving

bench-scale: $(VENV)/.dev ## Growth from 10k to 1M memories
	@$(BIN)/python -m benchmarks.scale

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
