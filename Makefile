# Needs make and Python 3.11 or newer; building for AWS needs Python 3.13. Everything else is installed into this folder.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-run setup-sam run serve invoke sam-local test test-newest test-others bench soak check lint format types all-types openapi validate build deploy lock clean

PYENV = "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions
PYTHON_3_13 = python3.13 $(PYENV)/3.13.*/bin/python3.13
PYTHON_3 = $(PYTHON_3_13) python3.12 $(PYENV)/3.12.*/bin/python3.12 python3.11 $(PYENV)/3.11.*/bin/python3.11 python3

# with bytecode, whatever the shell says: processes are started by the hundred
PYTHON = PYTHONDONTWRITEBYTECODE= PYTHONPATH="$(CURDIR)/layers/goodword" .venv/bin/python
SAM = PATH="$(CURDIR)/.venv-sam/bin:$$PATH" SAM_CLI_TELEMETRY=0 .venv-sam/bin/python -m samcli

# $(call find,candidates): the first Python that is good enough, or nothing. It has to start, because a pyenv shim exists
# for versions that are not selected, and it has to have ensurepip, because Debian ships Pythons that cannot make an
# environment.
find = for python in $(1); do \
    if "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
        echo "$$python"; break; \
    fi; \
done

# $(call install,candidates,folder,requirements,name): a virtual environment from the first of them.
install = python=$$($(call find,$(1))); \
    test -n "$$python" || { echo "No usable Python: install $(4), with its venv module." >&2; exit 1; }; \
    echo "Installing Python packages into $(2) (once, a minute) ..." >&2; \
    "$$python" -m venv $(2) && \
    $(2)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $(3)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/.ready ## install what running and testing need into .venv, once

.venv/.ready: requirements/dev.txt
	@$(call install,$(PYTHON_3),.venv,$<,Python 3.11 or newer)
	@touch $@

# What testing needs is four times as large, and has all that running needs.
setup-run: $(if $(wildcard .venv/.ready),.venv/.ready,.venv/.runs) ## install what running needs into .venv, once

.venv/.runs: requirements/run.txt
	@$(call install,$(PYTHON_3),.venv,$<,Python 3.11 or newer)
	@touch $@

run: setup-run ## play the demo story, then serve the API (PORT, DESTINATION and others: docs/api.md; ONCE=1 ends after the story)
	@PYTHONPATH="$(CURDIR)/layers/goodword" exec .venv/bin/python -m local run

serve: setup-run ## serve the API without the story
	@PYTHONPATH="$(CURDIR)/layers/goodword" exec .venv/bin/python -m local serve

invoke: setup-run ## run one function on an example (FUNCTION=track_click EVENT=follow is events/track_click__follow.json)
	@PYTHONPATH="$(CURDIR)/layers/goodword" exec .venv/bin/python -m local.invoke $(FUNCTION) $(EVENT)

sam-local: setup setup-sam ## run the examples (all, or FUNCTION=… EVENT=…) in the built bundle's containers; needs Docker, Podman or the like
	@$(MAKE) --no-print-directory build BUILD=.aws-sam/local ARCHITECTURE=$$($(PYTHON) -c 'from tests.bundle import emulator; print(emulator.architecture())')
	@PYTHONPATH="$(CURDIR)/layers/goodword" exec .venv/bin/python -m tests.bundle.sam_local .aws-sam/local $(FUNCTION) $(EVENT)

# Python 3.13, where there is one
BUILDS = $(shell $(call find,$(PYTHON_3_13)))

# As many processes as there are processors, each with a PostgreSQL of its own; tests/support/dealing.py deals.
SPREAD = -n auto --dist loadscope --no-loadscope-reorder

# The types, the newest PostgreSQL and the others at once: tests that wait leave the processors to those that do not.
test: lint ## every check and every test, the database's on each PostgreSQL that is here
	@$(if $(BUILDS),$(MAKE) --no-print-directory setup-sam,echo "tests/bundle is not run: building for AWS needs Python 3.13 and its venv module." >&2)
	@# at first, so that no bytecode comes or goes while a build copies the sources
	@$(PYTHON) -m compileall -q layers/goodword/goodword functions local
	@$(MAKE) --no-print-directory -j types test-newest test-others

test-newest: setup
	$(PYTHON) -m pytest $(SPREAD) $(if $(BUILDS),,--ignore=tests/bundle)

test-others: setup
	@$(PYTHON) -m tests.versions --hypothesis-profile=brief

bench: setup ## measure against the budgets of docs/benchmarks.md (BENCH=name: one; SCALE=1, ENTRIES=n: growth; RECORD=1: into docs)
	@$(PYTHON) -m tests.benchmarks $(BENCH)

soak: all-types ## every property of many more examples: 10,000 sequences of 50 postings, 5,000 lives of customers (two hours)
	$(PYTHON) -m pytest $(SPREAD) --hypothesis-profile=soak -m soak

check: lint types ## the checks that run none of the code

lint: setup ## ruff: rules and format
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

format: setup ## ruff: rewrite the code
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

types: setup ## basedpyright over all that runs
	$(PYTHON) -m basedpyright layers/goodword/goodword functions local clients/python examples tools

# The tests' own types are half the work, and what is wrong in them mostly shows when the tests run.
all-types: setup ## basedpyright over the tests too
	$(PYTHON) -m basedpyright

openapi: setup ## write docs/openapi.json from the models, and the client's types from it
	$(PYTHON) -m tools.openapi
	$(PYTHON) -m tools.client_types

setup-sam: .venv-sam/.ready ## install what building for AWS needs into .venv-sam, once

# The layer's wheels are kept for both architectures, so that a build asks the network for nothing.
.venv-sam/.ready: requirements/sam.txt layers/goodword/requirements.txt
	@$(call install,$(PYTHON_3_13),.venv-sam,$<,Python 3.13)
	@for architecture in arm64 x86_64; do \
	    .venv-sam/bin/python -m pip download -qq --disable-pip-version-check --require-hashes --no-deps \
	        --only-binary=:all: --implementation cp --python-version 3.13 \
	        $$(sed 's/^/--platform=/' layers/goodword/$$architecture/platforms) \
	        -r layers/goodword/requirements.txt -d .venv-sam/wheels || exit 1; \
	done
	@touch $@

ENVIRONMENT = default
BUILD = .aws-sam/build
# SAM looks for it beside the template, and a deployed template is a built one
CONFIG = --config-file "$(CURDIR)/samconfig.toml" --config-env $(ENVIRONMENT)
SPACE = $() $()

validate: setup-sam ## check template.yaml as SAM and as CloudFormation
	$(SAM) validate

build: setup-sam ## sam build (ENVIRONMENT=dev or prod as in samconfig.toml; ARCHITECTURE=x86_64 and BUILD=folder for a variant)
	PIP_NO_INDEX=1 PIP_FIND_LINKS="file://$(subst $(SPACE),%20,$(CURDIR))/.venv-sam/wheels" $(SAM) build \
	    $(CONFIG) --build-dir $(BUILD) $(if $(ARCHITECTURE),--parameter-overrides Architecture=$(ARCHITECTURE))

# The functions are published first, because the migrations come with one of them: new code meets the old schema for
# some seconds. A migration can be invoked again at any time, hence one attempt and no guess about its outcome.
deploy: layers/goodword/certs/rds-ca.pem build ## build, deploy and migrate (ENVIRONMENT=dev or prod as in samconfig.toml)
	@test -z "$(ARCHITECTURE)" || { echo "Architecture is set in samconfig.toml for a deploy." >&2; exit 1; }
	$(SAM) deploy $(CONFIG) --template-file $(BUILD)/template.yaml
	@answer=$$(AWS_MAX_ATTEMPTS=1 $(SAM) remote invoke MigrateDatabaseFunction $(CONFIG) --output json) || exit 1; \
	    echo "$$answer"; \
	    case $$answer in *'"FunctionError"'*) exit 1 ;; esac

layers/goodword/certs/rds-ca.pem:
	@echo "$@ is missing: put https://truststore.pki.rds.amazonaws.com/REGION/REGION-bundle.pem there." >&2; exit 1

LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

lock: ## pin what the .in files ask for (needs uv; OPTIONS=--upgrade takes the newest versions)
	$(LOCK) $(OPTIONS) layers/goodword/requirements.in -o layers/goodword/requirements.txt
	$(LOCK) $(OPTIONS) requirements/run.in -o requirements/run.txt
	$(LOCK) $(OPTIONS) requirements/dev.in -o requirements/dev.txt
	$(LOCK) $(OPTIONS) requirements/sam.in -o requirements/sam.txt

clean: ## remove everything that was installed or built; the demo's data stays
	rm -rf .venv .venv-sam .aws-sam .pytest_cache .ruff_cache .hypothesis
