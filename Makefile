# Two commands do everything, set-up included: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench screenshots client proto lock clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/.demo: requirements/demo.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Meterhaul into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/.dev: requirements/dev.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Meterhaul and its development tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@ $(BIN)/.demo

demo: $(BIN)/.demo ## meters, agent, broker, hub and page on this machine; ARGS="--seconds 60 --json"
	@$(BIN)/meterhaul demo $(ARGS)

test: $(BIN)/.dev ## all tests, on real PostgreSQL, Mosquitto and Modbus; ARGS="-k name"
	@$(BIN)/python -m demo.mosquitto
	@$(BIN)/python -m pytest $(ARGS)

lint: $(BIN)/.dev ## ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy tests bench
	@$(BIN)/lint-imports

bench: $(BIN)/.dev ## one benchmark, NAME=ingest|streams|ledger|disk|queries|wire|buffer|agent|footprint|rtu|tcp|deadmeter|cellular|direct|api
	@test -n "$(NAME)" || { echo "Say which: make bench NAME=ingest (or streams, ledger, disk, queries, wire, buffer, agent, footprint, rtu, tcp, deadmeter, cellular, direct, api)"; exit 2; }
	@$(BIN)/python bench/$(NAME).py $(ARGS)

screenshots: $(BIN)/.dev ## pictures of the pages, under screenshots/
	@$(BIN)/python -m demo.screenshots

client: $(BIN)/.dev ## a Python client of the hub's API, generated under build/client
	@mkdir -p build
	@METERHAUL_DATABASE_URL=postgresql:///none $(BIN)/meterhaul hub openapi > build/openapi.json # asks no database
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/openapi-python-client generate --path build/openapi.json --output-path build/client --overwrite --fail-on-warning

proto: $(BIN)/.dev ## generate Python from the .proto files
	@cd protocol && ../$(BIN)/python -m grpc_tools.protoc -I. --plugin=protoc-gen-mypy=../$(BIN)/protoc-gen-mypy --python_out=. --mypy_out=quiet:. meterhaul.proto
	@cd cloud_hub/subscribers/sparkplug && ../../../$(BIN)/python -m grpc_tools.protoc -I. --plugin=protoc-gen-mypy=../../../$(BIN)/protoc-gen-mypy --python_out=. --mypy_out=quiet:. sparkplug.proto

lock: $(BIN)/.dev ## pin every dependency by hash
	@$(BIN)/uv pip compile -q pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-annotate -o requirements/dev.txt
	@for half in edge hub demo; do $(BIN)/uv pip compile -q pyproject.toml requirements/build.in --extra $$half -c requirements/dev.txt --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url --no-annotate -o requirements/$$half.txt; done

clean: ## remove what was installed and made here
	@rm -rf $(VENV) .demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis screenshots
