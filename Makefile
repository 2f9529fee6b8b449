# smsbridge: what a fresh checkout can do. Start with `make`, which explains itself.
#
# Everything is put into .venv/ (programs) and var/ (the quickstart's database and logs);
# removing both folders leaves the checkout as it was.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
CONFIG ?= conf/quickstart.ini
# Workers of `make test-fast`; the tests with real peers run one after another.
JOBS ?= 2
# More arguments for trial, and the tests to run: make test TESTS=tests.end_to_end.test_databases
TRIAL_FLAGS ?=
TESTS ?= tests

# Else each of the many daemons that the tests start would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet --retries 10 --timeout 60
# An editable install shows Python the package but not twisted/plugins, so twistd would not find us
# from another folder; a .pth file with the checkout's path makes up for it.
LINK := import sysconfig; open(sysconfig.get_path("purelib") + "/smsbridge-checkout.pth", "w").write("$(CURDIR)\n")
CODE := setup.py smsbridge tests twisted docs/conf.py $(wildcard benchmarks)
UNIT_TESTS := $(subst /,.,$(patsubst %.py,%,$(wildcard tests/test_*.py))) \
	$(filter-out tests.end_to_end,$(subst /,.,$(patsubst %/__init__.py,%,$(wildcard tests/*/__init__.py))))

.PHONY: help
help:
	@echo 'smsbridge joins phone lines and people'\''s chat programs.'
	@echo
	@echo 'First steps'
	@echo '  make run         install into .venv/ and start a daemon with a simulated GoIP box;'
	@echo '                   needs no hardware, no other server and no configuration'
	@echo '                   (then, in a second terminal: '"'$(BIN)/smsbridge --help'"')'
	@echo
	@echo 'Working on the code'
	@echo '  make test-fast   style, types and all tests that need no other server'
	@echo '  make test        all of that, the documentation, and the tests with real peers'
	@echo '                   (Prosody, ejabberd, MariaDB, PostgreSQL); installs these from'
	@echo '                   Debian'\''s archive, by sudo unless you are root, and says so first'
	@echo '  make lint        style and types only'
	@echo '  make format      let ruff arrange the code'
	@echo '  make coverage    test-fast, with a table of the lines and branches not reached'
	@echo '  make docs        build the manual into docs/_build/html/'
	@echo '  make bench       measure throughput and latency (see docs/performance.rst)'
	@echo '  make clean       remove what was built; .venv/ and var/ stay'
	@echo '  make distclean   remove .venv/ and var/ too, the quickstart'\''s messages included'
	@echo
	@echo 'One test module: make test-fast TESTS=tests.test_layers'

# --- the environment -----------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || PYTHON=$(PYTHON) scripts/install-test-packages python3-venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'smsbridge needs Python 3.11 or newer and $(PYTHON) is older;' \
			'name another one, such as: make PYTHON=python3.12 run' >&2; exit 1; }
	@echo '== creating $(VENV)/ with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.py requirements/lock.txt | $(BIN)/python
	@echo '== installing smsbridge and what it needs into $(VENV)/ (a minute or two, once)'
	@$(PIP) install --constraint requirements/lock.txt --editable .
	@$(BIN)/python -c '$(LINK)'
	@touch $@

$(VENV)/.installed-dev: setup.py requirements/lock.txt requirements/test.txt | $(BIN)/python
	@echo '== installing smsbridge and what its tests need into $(VENV)/ (a minute or two, once)'
	@$(PIP) install --constraint requirements/test.txt --editable '.[dev]'
	@$(BIN)/python -c '$(LINK)'
	@touch $@ $(VENV)/.installed

# New versions of everything, for whoever maintains the lock files; run the tests afterwards.
.PHONY: lock
lock:
	@rm -rf build/lock
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet .
	@build/lock/bin/python -m pip freeze --exclude smsbridge > build/lock.txt
	@build/lock/bin/python -m pip install --quiet '.[dev]'
	@build/lock/bin/python -m pip freeze --exclude smsbridge > build/test.txt
	@for name in lock test; do \
		{ grep '^#' requirements/$$name.txt; cat build/$$name.txt; } > build/$$name.new; \
		mv build/$$name.new requirements/$$name.txt; \
	done

# --- what a user runs ----------------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.installed
	@mkdir -p var
	@echo '== starting smsbridge with $(CONFIG); its state is in var/; Ctrl-C stops it'
	@echo '== in a second terminal:  $(BIN)/smsbridge --config $(CONFIG) --help'
	@exec $(BIN)/twistd --nodaemon --pidfile= smsbridge --config $(CONFIG)

# --- checks --------------------------------------------------------------------------------------

.PHONY: packages
packages:
	@PYTHON=$(PYTHON) scripts/install-test-packages

.PHONY: lint
lint: $(VENV)/.installed-dev
	@echo '== ruff'
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@echo '== mypy'
	@$(BIN)/mypy

.PHONY: format
format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

.PHONY: docs
docs: $(VENV)/.installed-dev
	@echo '== documentation'
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html is up to date'

# The strict reporter turns an end-to-end test that was skipped into a failed run.
# The tests with real peers come last and one after another: their closing line is the result.
.PHONY: test
test: export CI = true
test: export PYTHONPATH = $(CURDIR)/tests/trial_plugins
test: packages lint docs
ifeq ($(TESTS),tests)
	@echo '== tests, without other servers'
	@$(BIN)/python -m twisted.trial --jobs $(JOBS) --reporter=strict $(TRIAL_FLAGS) $(UNIT_TESTS)
endif
	@echo '== tests, with real peers'
	@$(BIN)/python -m twisted.trial --reporter=strict $(TRIAL_FLAGS) $(if $(filter tests,$(TESTS)),tests.end_to_end,$(TESTS))

.PHONY: test-fast
test-fast: lint
	@echo '== tests, without other servers'
	@$(BIN)/python -m twisted.trial --jobs $(JOBS) $(TRIAL_FLAGS) $(if $(filter tests,$(TESTS)),$(UNIT_TESTS),$(TESTS))

.PHONY: coverage
coverage: $(VENV)/.installed-dev
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run -m twisted.trial $(TRIAL_FLAGS) $(if $(filter tests,$(TESTS)),$(UNIT_TESTS),$(TESTS))
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report

.PHONY: bench
bench: packages $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks

# --- tidying up ----------------------------------------------------------------------------------

.PHONY: clean
clean:
	@rm -rf build dist docs/_build htmlcov .coverage .coverage.* .mypy_cache .ruff_cache *.egg-info _trial_temp*
	@rm -f twisted/plugins/dropin.cache tests/trial_plugins/twisted/plugins/dropin.cache
	@find smsbridge tests twisted docs -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean
	@rm -rf $(VENV) var
