# Every task of the project, the same words at home and in CI.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: run test lint types docs bench soak lock clean

run: $(READY)
	$(BIN)/understudy demo

test: $(READY)
	@command -v chromium >/dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
	  && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null; } \
	  || printf '\n*** Chromium is missing and could not be installed: the browser tests will be SKIPPED ***\n\n'
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy
	set -e; for conftest in tests/unit/*/conftest.py; do $(BIN)/mypy $$conftest; done

docs: $(READY)
	$(BIN)/python docs/build.py

bench: $(READY)
	$(BIN)/python benchmarks/run.py

soak: $(READY)
	$(BIN)/python benchmarks/soaks.py

# The lock names versions and hashes only; refresh it after changing pyproject.toml.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# --no-deps: the lock is whole, and overrides what one package asks for (tool.uv in pyproject.toml).
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)
