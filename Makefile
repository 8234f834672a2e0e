# Two commands matter to a newcomer, `make demo` and `make test`; each sets itself up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two at a time, since most tests wait for a process or a clock.
TESTS = $(BIN)/python -m pytest -m 'not long' -n 2 --dist loadfile $(ARGS)
PIP := $(BIN)/pip --disable-pip-version-check
EXTRAS ?= broker,dicom,trigger,console,lsl,train,corpus,ann,cluster,bench,test

.PHONY: setup demo test test-long check bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "innerear needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "no virtual environment could be made. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PIP) install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/innerear demo $(ARGS)

test: $(STAMP)
	$(TESTS)

test-long: $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[$(EXTRAS),fuzz]'
	$(BIN)/python -m pytest -m long $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TESTS)

bench: $(STAMP)
	$(BIN)/innerear bench $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info demo simulated .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
