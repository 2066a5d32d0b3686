# Four words a contributor needs: run, test, check, bench. Everything else serves them.
# Debian's own Python where it can make an environment: built with the compiler's profile of itself, it runs the same
# code in four fifths of the time of one that was built by hand without (docs/performance.md).
PYTHON ?= $(shell /usr/bin/python3.11 -c 'import ensurepip' 2>/dev/null && echo /usr/bin/python3.11 || echo python3.11)
BIN := .venv/bin

.PHONY: run test check bench profile torture peers lock clean

# The whole bootstrap is the standard venv and pip: one hashed lock, no addresses in it.
.venv/.stamp: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: .venv/.stamp
	@$(BIN)/glasspost serve --data var

test: .venv/.stamp
	@$(BIN)/python -m pytest -n auto

check: .venv/.stamp
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/house

# Everything, about 25 minutes. A part of it: make bench BENCH="relay --rounds 5"
BENCH ?= all --markdown docs/performance.md
bench: .venv/.stamp
	@$(BIN)/python bench/run.py $(BENCH)

# Where a message's time goes.
profile: .venv/.stamp
	@$(BIN)/python bench/profile.py --markdown docs/performance.md

# A node is killed, cut off from power and starved under load; then the account is made. 1000 kills: about 25 minutes.
TORTURE ?= --kills 25 --seconds 45
torture: .venv/.stamp
	@$(BIN)/glasspost torture $(TORTURE)

# Real peers (Debian packages): needs root or sudo.
peers:
	sh .ci/peers

# Writes requirements.lock from pyproject.toml: versions and hashes, no addresses.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install -q uv
	.venv-lock/bin/uv --system-certs export --all-groups --all-extras --no-emit-project --no-header --no-annotate -q -o requirements.lock
	rm -rf .venv-lock uv.lock

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
