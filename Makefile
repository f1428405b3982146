# `make help` lists what there is. Everything happens in .venv; nothing else on the machine changes
# but Mosquitto, which the system's package manager installs when it is missing.

PYTHON ?= python3
BIN := .venv/bin
UV := $(firstword $(wildcard $(BIN)/uv) uv)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate $(UPGRADE)
IN_CONTAINER := --extra metering --extra inverters --extra sim

.PHONY: help setup system demo test slow check house container docs lock clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: system .venv/.ready ## .venv with the `hemma` command in it, and Mosquitto

demo: setup ## broker, services and a simulated house, live in this terminal; Ctrl-C ends all
	@$(BIN)/hemma demo

test: setup ## every test but the slow ones and those of containers
	$(BIN)/pytest -q -m 'not container and not slow'

slow: setup ## the tests that take a minute each
	$(BIN)/pytest -q -m slow

house: setup ## only the tests with real Mosquitto, the simulated house and real processes
	$(BIN)/pytest -q -m house

container: .venv/.ready ## tests of the containers; wants Docker with compose
	$(BIN)/pytest -q -m container tests/container

check: .venv/.ready ## lint, format, types, import rules, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hemma docs --check

docs: .venv/.ready ## write the generated files anew
	$(BIN)/hemma docs

lock: ## resolve the requirements anew with uv; `make lock UPGRADE=--upgrade` takes newer ones
	$(COMPILE) pyproject.toml $(IN_CONTAINER) -o requirements/runtime.txt
	$(COMPILE) pyproject.toml $(IN_CONTAINER) --extra command -c requirements/runtime.txt -o requirements/command.txt
	$(COMPILE) pyproject.toml requirements/build.in --all-extras -c requirements/command.txt -o requirements/dev.txt
	$(COMPILE) requirements/build.in -c requirements/dev.txt -o requirements/build.txt
	$(COMPILE) pyproject.toml -c requirements/runtime.txt -o requirements/core.txt
	$(COMPILE) pyproject.toml --extra inverters -c requirements/runtime.txt -o requirements/inverters.txt
	@! grep -nE '//|^-|#|@' requirements/*.txt || { echo 'a lock names an address'; exit 1; }

clean: ## remove what make and the tools made
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: requirements/dev.txt pyproject.toml | system
	$(PYTHON) -m venv .venv
	$(BIN)/pip --disable-pip-version-check install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

system:
	@requirements/system "$(PYTHON)"
