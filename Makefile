# In a fresh clone, `make demo` and `make test` run `make setup` first.
SHELL := /bin/bash
IN_ENV := . ./env.sh &&

.PHONY: help setup packages demo test interop check lint browser bench clean

help:            ## show this list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: packages  ## install the dependencies and build the messages; fast if nothing changed
	@bash scripts/test_interfaces.sh

packages:        # everything but what only tests need, so that the demo starts earlier
	@bash scripts/setup.sh

demo: packages   ## three instructions to a simulated robot; a page, pictures and a bag in out/demo
	@$(IN_ENV) groot-ros demo --out out/demo

# Two tests at a time. Tests of nodes mostly wait, and run apart from those that need the processor.
# They depend on DDS discovery and on the load of the machine, so one that fails is run once more;
# the summary counts it as rerun.
PYTEST := python -m pytest -n 2 --dist loadfile

test: setup      ## lint, type check and all tests
	@$(IN_ENV) ruff check . && ruff format --check . && mypy && \
	$(PYTEST) -m "not ros" && $(PYTEST) -m ros --reruns 1 --rerun-except "from pytest-timeout"

interop: setup   ## data sets read by LeRobot's own code, which is installed into .venv-interop
	@if bash scripts/interop.sh; then $(IN_ENV) python -m pytest -m network test/interop; \
	else echo "interop: not tested, because LeRobot's reader could not be installed"; fi

check: setup     ## lint and the tests without ROS nodes, in about a minute
	@$(IN_ENV) ruff check . && ruff format --check . && $(PYTEST) -m "not ros and not slow"

lint: setup      ## ruff and mypy only
	@$(IN_ENV) ruff check . && ruff format --check . && mypy

browser:         ## install Chromium, without which the tests marked `browser` are skipped
	@bash scripts/browser.sh

bench: setup     ## all benchmarks, as tables (half an hour, 16 GB of memory)
	@$(IN_ENV) python -m benchmarks --all

clean:           ## remove everything that was built or installed here
	rm -rf .venv .venv-interop build install log out
