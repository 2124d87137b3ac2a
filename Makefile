# The few verbs of the course. `make lab` and `make test` do all the set-up on a machine with Python 3.11+ and make.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Else glibc keeps a heap for each of TensorFlow's threads: 60 MB more in a kernel of notebook 4.
export MALLOC_ARENA_MAX ?= 2
# Without a screen there is no browser to open: JupyterLab then prints the address.
BROWSER_FLAG := $(shell [ "$$(uname)" != Linux ] || [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || echo --no-browser)

# What runs beside the tests of the library, so that two cores are busy for about the same time.
HANDS_ON := $(addprefix tests/test_,checks.py guesses.py notebooks.py playground.py tools.py)

.PHONY: help lab playground test run html slides claims bench lock clean
.DEFAULT_GOAL := help

help:  ## show the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "%-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: $(READY)  ## open your own copy of the notebooks, in my_notebooks, in JupyterLab (prints the address)
	$(BIN)/python tools/copy_notebooks.py
	$(BIN)/jupyter lab --allow-root $(BROWSER_FLAG) --notebook-dir=my_notebooks

playground: $(READY)  ## open the playground of notebook 7 as a page of its own (prints the address)
	JUPYTER_PATH="$(CURDIR)/vgp_lib/page" $(BIN)/voila vgp_lib/page/playground.ipynb --template=playground $(BROWSER_FLAG)

test: $(READY)  ## check the library and every stored output of the notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "The notebooks and the browser run beside the tests; their report follows."; \
	( outcome=0; \
	  $(BIN)/python -m pytest notebooks || outcome=1; \
	  VGP_STRICT=1 $(BIN)/python -m pytest notebooks/solutions || outcome=1; \
	  $(BIN)/python -m pytest $(HANDS_ON) tests/browser || outcome=1; \
	  exit $$outcome \
	) >$(VENV)/notebooks.log 2>&1 & notebooks=$$!; \
	$(BIN)/python -m pytest $(filter-out $(HANDS_ON),$(wildcard tests/test_*.py)); tests=$$?; \
	wait $$notebooks; outcome=$$?; cat $(VENV)/notebooks.log; \
	[ $$tests -eq 0 ] && [ $$outcome -eq 0 ]

run: $(READY)  ## run every notebook top to bottom and print what it found
	$(BIN)/python tests/run_notebooks.py

html: $(READY)  ## write the notebooks with their results as a site for reading, in site
	$(BIN)/python tools/make_site.py

slides: $(READY)  ## write one deck per notebook, in slides, that needs no network
	$(BIN)/python tools/make_slides.py

bench: $(READY)  ## score diagnose; time train against its peers (installs PyTorch and JAX), and the playground
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python tests/benchmarks/bench_diagnosis.py
	$(BIN)/python tests/benchmarks/bench_training.py
	$(BIN)/python tests/benchmarks/bench_playground.py

claims: $(READY)  ## measure all claims and remedies anew (half an hour) and store them in data
	$(BIN)/python -c "from vgp_lib.claims import measure, store; ledger = measure(); store(ledger); print(ledger)"
	$(BIN)/python -c "from vgp_lib.remedies import measure, store; rows = measure(); store(rows); print(rows)"

lock: $(READY)  ## pin the dependencies of pyproject.toml anew in requirements.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra test --universal --python-version 3.11 --upgrade \
	    --no-header --no-annotate --quiet --output-file requirements.txt
	echo "-e ." >> requirements.txt

clean:  ## remove the environment that `make` has made
	rm -rf $(VENV)

$(READY): requirements.txt pyproject.toml
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
	echo "Setting up $(VENV) with $$("$$python" --version); the first time this takes a minute or two."; \
	"$$python" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $(READY)
