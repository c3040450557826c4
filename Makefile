# Needs Python 3.11 or newer (3.13 to build for AWS) and make; everything else is installed into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run serve test check lint format types openapi lock clean

PYTHON = PYTHONPATH="$(CURDIR)/layers/goodword" .venv/bin/python

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/.ready ## install Python packages into .venv, once

# A candidate must start, because a pyenv shim exists for versions that are not selected, and must be able to make an
# environment, because Debian ships Pythons that cannot.
.venv/.ready: requirements/dev.txt
	@for python in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13.*/bin/python3.13 \
	    python3.12 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.12.*/bin/python3.12 \
	    python3.11 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.11.*/bin/python3.11 python3; do \
	    if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        echo "Installing Python packages into .venv (once) ..." >&2; \
	        "$$python" -m venv --clear .venv && \
	        .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt && \
	        touch .venv/.ready; \
	        exit $$?; \
	    fi; \
	done; \
	echo "No Python 3.11 or newer that can make a virtual environment was found: install Python 3.13." >&2; exit 1

run: setup ## play the demo story, then serve it on port 3000 (PORT, DATABASE_URL, GOODWORD_HOME, ONCE=1)
	@$(PYTHON) -m local run

serve: setup ## the same without the story
	@$(PYTHON) -m local serve

test: check ## every check and every test
	$(PYTHON) -m pytest
	$(PYTHON) -m pytest tests/database --postgres=16

check: lint types ## the checks that run no code

lint: setup ## ruff: rules and format
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

format: setup ## ruff: rewrite the code
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

types: setup ## basedpyright
	$(PYTHON) -m basedpyright

openapi: setup ## write docs/openapi.json from the models
	$(PYTHON) -m local.openapi

clean: ## remove everything that was installed or built; the demo's data stays
	rm -rf .venv .venv-sam .aws-sam .pytest_cache .ruff_cache .hypothesis
