# From a fresh clone: `make demo` or `make test`, each does all the set-up it needs.
SHELL := /bin/bash
IN_ENV := . ./env.sh &&

.PHONY: help setup demo test lint bench clean

help:            ## this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup:           ## install what is needed, build the messages (idempotent)
	@bash scripts/setup.sh

demo: setup      ## the real nodes over DDS drive a simulated robot for 20 s; pictures and a bag in out/demo
	@$(IN_ENV) groot-ros demo --out out/demo

test: setup      ## lint, types and the whole test suite
	@$(IN_ENV) ruff check . && ruff format --check . && mypy && python -m pytest

lint: setup      ## ruff and mypy alone
	@$(IN_ENV) ruff check . && ruff format --check . && mypy

bench: setup     ## every benchmark, as tables (half an hour, 16 GB of memory)
	@$(IN_ENV) python -m benchmarks --all

clean:           ## remove everything that was built or installed
	rm -rf .venv build install log out
