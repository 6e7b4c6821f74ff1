# make test and make demo set up everything they need in .venv first; nothing else is installed by hand.
PYTHON ?= python3
BIN = .venv/bin
# How many processes share the tests.
JOBS ?= 2
PYTEST_IN_JOBS = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.PHONY: test test-slow test-all demo lint clean

# Every feature once, README's first job included: minutes.
test: .venv/ready
	$(PYTEST_IN_JOBS) -m "not slow" $(PYTEST)

# What `make test` leaves out: every kill, every accident, every compilation, end to end.
test-slow: .venv/ready
	$(PYTEST_IN_JOBS) --no-loadscope-reorder -m slow $(PYTEST)

# Both, with the lines that no test runs; fails below 90 %.
test-all: .venv/ready
	$(MAKE) test PYTEST="--cov --cov-report= --cov-fail-under=0"
	$(MAKE) test-slow PYTEST="--cov --cov-append"

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
