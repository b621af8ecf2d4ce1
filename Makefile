# Every target does the set-up that is still missing, and none that is not.
.DEFAULT_GOAL := help
.PHONY: help demo test long faults soak hostile fuzz examples bench cluster debian check lock install uninstall deb packages container dist pictures clean setup-python setup-broker setup-node setup-examples setup-decider setup-operations setup-packages setup-containers shape trace
BIN := .venv/bin
ARGS :=
TESTS :=
SUITE :=
# Most of a test waits: five at a time keep two cores busy. A file's tests stay in one process;
# tests/spread.py has the order.
WORKERS := 5
# Each worker would compile all tests anew for itself, 4 s of CPU.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile

help: ## These targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

demo: setup-broker ## 200 tasks from SWF over RabbitMQ to shell workers and back; ARGS=--stay keeps it running
	@exec $(BIN)/python -m demo $(ARGS)

test: setup-broker setup-node setup-decider setup-operations setup-packages ## Tests; WORKERS=0: one at a time; TESTS=tests/unit; ARGS='-k words'
	$(PYTEST) $(TESTS) $(ARGS)

bench: setup-broker ## Figures beside two baselines, 15 minutes; ARGS='--only sides' for some
	@exec $(BIN)/python -m bench $(ARGS)

long: setup-broker setup-node setup-packages ## The tests that have a shorter form in `make test`; `EVERY_TEST=1 make test` runs both
	$(PYTEST) -m long $(ARGS)

faults: setup-broker ## Faults under load for MINUTES=5, SEED=…; KILLS=100 BROKER_KILLS=20: kills alone
	$(BIN)/python -m tests.faults $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(KILLS),--kills $(KILLS)) $(if $(BROKER_KILLS),--broker-kills $(BROKER_KILLS)) $(ARGS)

soak: setup-broker ## A load for MINUTES=10: memory, threads, descriptors and disk must stay flat
	$(BIN)/python -m tests.faults.soak $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

hostile: setup-broker ## Attacks with a worker's own login, and what good work beside each sees; ARGS='--only NAME'
	$(BIN)/python -m tests.hostile $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: setup-python ## CASES=1000000 over every input of the daemon, as bytes; ARGS='--only replies', '--grow 60'
	$(BIN)/python -m tests.fuzz $(if $(CASES),--cases $(CASES)) $(ARGS)

examples: setup-broker setup-node setup-examples ## Every worker of examples/ against the contract
	$(BIN)/pytest tests/conformance/languages.py $(ARGS)

cluster: setup-broker ## Three RabbitMQ nodes, each event once under load: a table of what it cost; ARGS='--only dead-node'
	$(BIN)/python -m tests.cluster $(ARGS)

debian: ## In a root of another Debian, SUITE=trixie or sid: ARGS='make demo', 'make test' by default
	@tools/debian $(SUITE) $(ARGS)

check: setup-python ## Lint, format, types, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/audit.py requirements.lock

shape: setup-python ## Rooms, arrows, floors and circles of bridge/, counted from its imports
	@$(BIN)/python tools/shape.py

trace: setup-broker ## Files, calls and switches of one task, heartbeat and reply on their way through bridge/; ARGS='--rounds 30'
	@$(BIN)/python tools/trace.py $(ARGS)

lock: setup-python ## Newest versions that pyproject.toml allows, into both locks
	$(BIN)/python tools/lock.py

install: ## The service into PREFIX=/opt/swf-bridge, new or upgraded, with its units; as root
	@tools/install

uninstall: ## Take it away again, but for settings and journals
	@tools/uninstall

deb: setup-packages ## dist/swf-bridge_VERSION_ARCH.deb for the Debian that this is; OUT=dist
	@tools/deb

packages: setup-broker setup-packages setup-containers ## All packages built twice; the .deb tried with apt, systemd and in a container; minutes
	@tools/packages $(ARGS)

container: setup-packages setup-containers ## An image with the .deb on a plain Debian, BASE=debian:12-slim; TAG names it
	@tools/container

dist: setup-python ## Wheel, source archive, bill of materials and licences, into OUT=dist
	@tools/dist

pictures: setup-broker setup-operations ## The README's pictures of the page, taken anew by a browser into docs/pictures
	$(BIN)/pytest tests/acceptance/pictures.py $(ARGS)

clean: ## Take away what the set-up and the tools made here
	rm -rf .venv .venv-decider .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup-python:
	@tools/setup

setup-broker:
	@tools/setup broker

setup-decider:
	@tools/setup decider

setup-operations:
	@tools/setup operations

setup-packages:
	@tools/setup packages

setup-containers:
	@tools/setup containers

setup-node:
	@tools/setup node

setup-examples:
	@tools/setup examples
