# Two commands matter: `make run` and `make test`. Each prepares what it needs and is quick the second time.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
STAMPS := $(VENV)/stamps
# Tests wait more than they compute: one process more than there are cores. A file stays in one process; long ones begin first
# (tests/conftest.py).
WORKERS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 2) + 1)))
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
SOURCES := setup.py pyproject.toml $(wildcard fastpath/*/*.pyx fastpath/*/*.pxd)
CONTRACT := $(wildcard proto/tradewind/v1/*.proto) $(wildcard clients/python/*.py clients/python/tradewind/_async/*.py) clients/python/pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help run stop build test lint unit bench soak lock clean
.DELETE_ON_ERROR:

help:  ## This list
	@echo "Tradewind. Usage: make TARGET [ARGS=\"...\"]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

run: build  ## Start everything on recorded market data (ARGS="--detach", ARGS="--live", ...)
	@$(BIN)/tradewind up $(ARGS)

stop:  ## Stop what runs in the background
	@if [ -x $(BIN)/tradewind ]; then $(BIN)/tradewind down; else echo "Nothing is built here, so nothing runs."; fi

build: $(STAMPS)/server  ## Create .venv and build everything into it

test: build $(STAMPS)/test-tools test-servers lint  ## Install what the tests need, then check and test everything
	@echo "==> pytest, all tests";  $(PYTEST) $(ARGS)

lint: $(STAMPS)/test-tools build  ## Style, types and the contract
	@echo "==> ruff";  $(BIN)/ruff check .
	@echo "==> cython-lint";  $(BIN)/cython-lint --no-pycodestyle --max-line-length 126 fastpath tests/fastpath
	@echo "==> mypy";  $(BIN)/mypy
	@echo "==> contract: buf lint";  $(BIN)/buf lint
	@echo "==> contract: buf breaking";  $(BIN)/buf build -o $(STAMPS)/contract.binpb && $(BIN)/buf breaking $(STAMPS)/contract.binpb \
	    --against tests/contract/v1.binpb --exclude-imports --config '{"version": "v2", "breaking": {"use": ["FILE"]}}'

unit: $(STAMPS)/test-tools build  ## The quick tests, without servers and child processes (ARGS="-k name")
	@echo "==> pytest, unit tests";  $(PYTEST) -m unit $(ARGS)

.PHONY: test-servers
test-servers:
	@PYTHON=$(BIN)/python tests/install-servers

bench: build $(STAMPS)/test-tools  ## Core benchmarks: tables here, JSON under var/bench
	@$(BIN)/python -m loadtest.bench $(ARGS)

soak: build $(STAMPS)/test-tools  ## The randomized tests again, hundred times longer
	@TRADEWIND_SOAK=100 $(BIN)/pytest --timeout 36000 -m "not once" $(ARGS)

lock: $(STAMPS)/venv  ## Refresh requirements.lock to the newest versions the project allows
	@$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-package tradewind \
	    --group build --group test pyproject.toml --output-file requirements.lock

clean:  ## Remove everything that was built (var/ stays: it holds your data)
	rm -rf $(VENV) build dist *.egg-info clients/python/*.egg-info clients/python/build
	rm -f fastpath/*/*.so fastpath/*/*.c fastpath/*/*.html clients/python/tradewind/v1/*_pb2* clients/python/tradewind/_sync/[!_]*

# --- what the targets stand on -------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "Tradewind needs Python 3.11 or newer as $(PYTHON); name another one with: make PYTHON=python3.12 ..."; exit 1; }
	@echo 'int main(void){return 0;}' | $${CC:-cc} -x c -o /dev/null - 2>/dev/null || \
	    { echo "Tradewind needs a C compiler as $${CC:-cc} (on Debian: apt-get install gcc python3-dev)"; exit 1; }
	@echo "==> creating $(VENV) ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed (on Debian: apt-get install python3-venv)"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build-tools: $(STAMPS)/venv requirements.lock pyproject.toml
	@$(UV) pip install --quiet --constraint requirements.lock --group build --group tools
	@touch $@

# Both distributions are editable: Python changes need no rebuild, changed .pyx, .pxd and .proto files do.
$(STAMPS)/server: $(STAMPS)/build-tools $(SOURCES) $(CONTRACT)
	@echo "==> installing packages, generating stubs, compiling the fast path (a minute the first time)"
	@$(UV) pip install --quiet --constraint requirements.lock --no-build-isolation \
	    --reinstall-package tradewind --reinstall-package tradewind-server --editable clients/python --editable .
	@mkdir -p $(VENV)/protos/google/rpc && \
	    cp $$($(BIN)/python -c 'import google.rpc; print(google.rpc.__path__[0])')/status.proto $(VENV)/protos/google/rpc/
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import server.app.main, server.cli.main, server.app.markets, server.storage.duckdb_ticks'  # bytecode: the first start is as quick as the next
	@touch $@

$(STAMPS)/test-tools: $(STAMPS)/venv requirements.lock pyproject.toml
	@echo "==> installing test tools"
	@$(UV) pip install --quiet --constraint requirements.lock --group test
	@touch $@
