# The two commands of the README, `make run` and `make test`; everything else is a part of them.
#
# Builds go to a cache outside the checkout, so that fresh clones build quickly.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/neap
export CARGO_TARGET_DIR ?= $(CACHE)/target
VENV := $(CACHE)/venv-$(shell cat tests/requirements.txt | cksum | cut -d' ' -f1)
export NEAP_RUNTIMES := $(CACHE)/runtimes
export NEAP_PYTHON := $(VENV)/bin/python

.PHONY: run test check unit black-box docs bench release tools venv

run: venv
	cargo build --release --locked
	$(VENV)/bin/python examples/demo.py --neap $(CARGO_TARGET_DIR)/release/neap

test: tools venv check unit black-box
	@echo; echo "==== summaries of the test runners ===="
	@grep -hE '^ *Summary ' $(CACHE)/unit.log $(CACHE)/postgres.log
	@tail -n 1 $(CACHE)/black-box.log

# Static rules.
check:
	cargo fmt --all --check
	rustfmt --edition 2024 --check crates/runtimes/boot/native/*.rs xtask/src/bench/bootstrap.rs  # of no crate
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cargo xtask check

# Unit, property and conformance tests; then the services once more, on PostgreSQL.
unit: venv
	@mkdir -p $(CACHE)
	cargo nextest run --locked --workspace --no-fail-fast 2>&1 | tee $(CACHE)/unit.log; exit $${PIPESTATUS[0]}
	bash tests/with-servers.sh $(VENV) \
		cargo nextest run --locked --no-fail-fast -p neap-functions -p neap-queues -p neap-telemetry -p neap-store --no-tests=pass \
		-E 'package(neap-functions) | package(neap-queues) | package(neap-telemetry) | (package(neap-store) & binary(blobs))' \
		2>&1 | tee $(CACHE)/postgres.log; exit $${PIPESTATUS[0]}

# The running binary, driven by boto3, the AWS CLI and the `neap` command.
black-box: venv
	@mkdir -p $(CACHE)
	cargo build --locked --workspace  # the features of the tests before it: nothing is built twice
	NEAP=$(CARGO_TARGET_DIR)/debug/neap bash tests/with-servers.sh $(VENV) \
		$(VENV)/bin/python -m pytest tests -q -rs 2>&1 | tee $(CACHE)/black-box.log; exit $${PIPESTATUS[0]}

# The published list of operations.
docs:
	cargo run --locked --quiet -- operations > docs/operations.md

bench:
	cargo xtask bench

# The program as it is to be given to others; prints where it is.
release: venv
	bash tests/tools.sh release
	cargo xtask release

# What the tests need and the machine may lack.
tools:
	bash tests/tools.sh

venv: $(VENV)/ready

$(VENV)/ready: tests/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	touch $@

SHELL := /bin/bash
