# The few verbs of the course. `make lab` and `make test` do all the set-up on a machine with Python 3.11+ and make.

VENV := .venv
BIN := $(VENV)/bin
# These files say that the environment holds what a student needs, and what tests, site and decks need besides.
READY := $(VENV)/ready
READY_TEST := $(VENV)/ready-test
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Else glibc keeps a heap for each of TensorFlow's threads: 60 MB more in a kernel of notebook 4.
export MALLOC_ARENA_MAX ?= 2
# Without a screen there is no browser to open: JupyterLab then prints the address.
BROWSER_FLAG := $(shell [ "$$(uname)" != Linux ] || [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || echo --no-browser)
# One file, one process: the nets that it compiles are compiled once. The root's conftest.py says how many, in which order.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile

.PHONY: help lab test evidence run html slides bench lock clean
.DEFAULT_GOAL := help

help:  ## show the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "%-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: $(READY)  ## open your own copy of the notebooks, in my_notebooks, in JupyterLab (prints the address)
	$(BIN)/python tools/copy_notebooks.py
	$(BIN)/jupyter lab --allow-root $(BROWSER_FLAG) --notebook-dir=my_notebooks

test: $(READY_TEST)  ## check the library and every stored output of the seven notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) tests notebooks

evidence: $(READY_TEST)  ## measure all claims, faults, solutions and deeper notebooks anew (longer than the tests)
	VGP_STRICT=1 $(PYTEST) notebooks/deeper notebooks/solutions tests/evidence
	$(BIN)/python -m evidence

run: $(READY)  ## run every notebook top to bottom and print what it found
	$(BIN)/python tests/run_notebooks.py

html: $(READY_TEST)  ## write the notebooks with their results as a site for reading, in site
	$(BIN)/python tools/make_site.py

slides: $(READY_TEST)  ## write one deck per notebook, in slides, that needs no network
	$(BIN)/python tools/make_slides.py

bench: $(READY_TEST)  ## time train against its peers (installs PyTorch and JAX), and the playground
	$(PIP) --requirement requirements-bench.txt
	$(BIN)/python tests/benchmarks/bench_training.py
	$(BIN)/python tests/benchmarks/bench_playground.py

COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade --no-header --no-annotate --quiet
lock: $(READY)  ## pin the dependencies of pyproject.toml anew in requirements.txt and requirements-test.txt
	$(PIP) uv
	$(COMPILE) --extra lab --output-file requirements.txt
	$(COMPILE) --all-extras --constraint requirements.txt --output-file $(VENV)/all.txt
	{ echo "-r requirements.txt"; grep -vxFf requirements.txt $(VENV)/all.txt; } > requirements-test.txt
	echo "-e ." >> requirements.txt

clean:  ## remove the environment that `make` has made
	rm -rf $(VENV)

# uv needs a third of pip's time. It knows nothing of pip's settings: where it does not get on, pip does the work.
define install
	@echo "Installing what $(1) names; the first time this takes a minute or two."
	@trap 'exit 130' INT TERM; \
	{ $(PIP) uv && $(BIN)/uv pip install --quiet --python $(BIN)/python --requirement $(1); } 2>$(VENV)/uv.log \
	    || $(PIP) --requirement $(1)
endef

$(READY): requirements.txt pyproject.toml | $(BIN)/python
	$(call install,requirements.txt)
	@touch $(READY)

$(READY_TEST): requirements-test.txt requirements.txt pyproject.toml | $(BIN)/python
	$(call install,requirements-test.txt)
	@touch $(READY) $(READY_TEST)

$(BIN)/python:
	@python=""; \
	for candidate in "$(PYTHON)" python3 python3.13 python3.12 python3.11; do \
	    [ -n "$$candidate" ] || continue; \
	    "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	        >/dev/null 2>&1 && python="$$candidate" && break; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "The course needs Python 3.11, 3.12 or 3.13 with its venv module, and found none."; \
	    echo "Install one (Debian, Ubuntu: apt install python3-venv), or name yours: make PYTHON=/path/to/python3.12 ..."; \
	    exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version)."; \
	"$$python" -m venv --clear $(VENV)
