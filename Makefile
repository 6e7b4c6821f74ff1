# make test and make demo set up everything they need in .venv first; nothing else is installed by hand.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: test demo lint clean

test: .venv/ready
	$(BIN)/python -m pytest --cov

demo: .venv/ready
	$(BIN)/nnunet-vmunet demo --overwrite

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A machine with an NVIDIA GPU gets what it needs too: plain pip brings torch's CUDA build.
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv demo build *.egg-info .coverage*
