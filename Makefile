# Everything runs in one .venv, made by whichever target needs it first.
# Another Python: make demo PYTHON=python3.12     Further arguments: make lab ARGS=--no-browser
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
NOTEBOOKS = $(wildcard notebooks/*.ipynb)

# One thread per party: parties share the cores, and with more threads than cores each waits for the others.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lab bench lint clean

demo: $(READY)  ## handwritten digits, classified while encrypted, with the bill
	$(BIN)/python -m mpckit demo $(ARGS)

lab: $(READY)  ## JupyterLab on the first notebook
	$(BIN)/jupyter lab $(ARGS) notebooks/00_a_prediction_nobody_saw.ipynb

bench: $(READY)  ## e.g. make bench ARGS="relu_1e5 --parties 3"
	$(BIN)/python -m mpckit bench $(ARGS)

test: lint  ## lint, tests, then every notebook: its outputs must come out again as they are saved
	$(BIN)/python -m pytest
	$(if $(NOTEBOOKS),$(BIN)/python -m pytest --nbval --nbval-current-env $(NOTEBOOKS))

lint: $(READY)
	$(BIN)/ruff check .

# torch goes first and alone, so that pip settles which build it is (see constraints.txt) before all else.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("mpckit needs Python 3.11 or newer, for instance: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "Making .venv: a minute or two, more where pip has to fetch the large build of torch."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[lab,test]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache demo.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
