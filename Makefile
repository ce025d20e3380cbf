# make demo   breeding values from a real pedigree and real records (examples/salmon), from nothing
# make test   everything the tests need, then all of them
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/henderson run examples/salmon/salmon.toml --out examples/salmon/salmon.out

test: lint
	cluster/mini-slurm/install.sh
	tests/install_chromium.sh
	$(BIN)/pytest

lint: .venv/installed-mpi
	$(BIN)/ruff check src tests
	$(BIN)/mypy

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "henderson needs Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || [ "$$(id -u)" != 0 ] || { apt-get -qq update && apt-get -qq install -y python3-venv; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing: install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/installed-test: .venv/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[test,lint,slurm]"
	touch $@ .venv/installed

# MPI and PETSc for the tests of the distributed engine: built once, about ten minutes, then kept in ~/.cache/henderson
.venv/installed-mpi: .venv/installed-test cluster/env/install-mpi.sh cluster/env/check_mpi.py
	cluster/env/install-mpi.sh .venv
	touch $@

clean:
	rm -rf .venv examples/*/*.out
