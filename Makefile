# The commands of a day's work. `make help` lists them.
#
# KUBECONFIG and IMAGE, given together, name a cluster and an image to use; nothing is built or started then,
# and DATABASE_URL names the database. Otherwise the local cluster is used, see docs/local-cluster.md.

PYTHON ?= python3
PYTHON_CHECK = import sys; sys.version_info >= (3, 11) or sys.exit("Python " + sys.version.split()[0] + \
	" is too old: requires-python is >=3.11; name a newer one, as in: make venv PYTHON=python3.12")
INTERPRETERS = $(VENV)/bin/python -m tests.interpreters
LOCALCLUSTER = PYTHONPATH=operator $(PYTHON) -m dev.localcluster
VENV = .venv
MIGRATIONS = migrations
MIGRATE = $(VENV)/bin/fluxbase-migrate
APT_INSTALL = apt-get -q update && apt-get -q install -y --no-install-recommends
# Four processes: the tests on the cluster mostly wait, and come first.
PYTEST = $(VENV)/bin/pytest -n 4 --dist loadgroup
# Options for pytest: make test PYTEST_ARGS="-k lock"
PYTEST_ARGS ?=
# IMAGE_TESTS=no leaves out the tests with the image's Python, where no container engine gives IMAGE's files.
IMAGE_TESTS ?= yes
# The runs of one command tell each other here how many tests passed on which interpreter.
test test-matrix: export TEST_COUNTS = $(CURDIR)/build/test-counts

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ The local cluster

.PHONY: python
python:
	@command -v $(PYTHON) >/dev/null || { $(APT_INSTALL) python3; }

.PHONY: up
up: venv ## Start the cluster with PostgreSQL, install the chart, apply examples/shop, and wait until it is Applied
	@$(LOCALCLUSTER) demo

.PHONY: demo-failure
demo-failure: venv ## See a migration fail, and recover by correcting its file
	@$(LOCALCLUSTER) demo-failure

.PHONY: down
down: ## Undo what `make up` did; what was built stays cached (PURGE=1 removes that, too)
	@$(LOCALCLUSTER) down $(if $(PURGE),--purge)

.PHONY: cluster
cluster: python ## Start the cluster with PostgreSQL, and nothing in it
	@$(LOCALCLUSTER) up

.PHONY: status
status: ## Show the cluster's parts, its node and its pods
	@$(LOCALCLUSTER) status

.PHONY: env
env: ## Print what gives a shell kubectl, helm, fluxbase-migrate and kubectl fluxbase: eval "$(make env)"
	@$(LOCALCLUSTER) env

.PHONY: kubectl helm psql
kubectl: ## Run kubectl against the cluster: make kubectl ARGS="get fbms -A"
	@$(LOCALCLUSTER) kubectl $(ARGS)

helm: ## Run helm against the cluster: make helm ARGS="list -A"
	@$(LOCALCLUSTER) helm $(ARGS)

psql: ## Run psql as the application's role: make psql ARGS="-c 'SELECT * FROM migrations.app'"
	@$(LOCALCLUSTER) psql $(ARGS)

##@ Tests

.PHONY: venv
venv: $(VENV)/.installed ## Make .venv from the lock file

$(VENV)/.installed: requirements-dev.lock pyproject.toml | python
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(APT_INSTALL) python3-venv; }
	@$(PYTHON) -c '$(PYTHON_CHECK)'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Maven fetches Flyway, and the PostgreSQL servers that Debian does not have; pgbouncer is one to refuse.
.PHONY: test-tools
test-tools:
	@command -v mvn >/dev/null || { $(APT_INSTALL) maven; }
	@test -x /usr/sbin/pgbouncer || { $(APT_INSTALL) pgbouncer; }

.PHONY: test
test: venv test-tools cluster ## Run every test, on the local cluster and on PostgreSQL 15 and 18, and some with the image's Python
	@rm -f $(TEST_COUNTS)
ifeq ($(IMAGE_TESTS),no)
	@mkdir -p $(dir $(TEST_COUNTS))
	@echo "IMAGE_TESTS=no: no test was run with the image's Python" | tee $(TEST_COUNTS)
else
	@$(INTERPRETERS) image $(PYTEST_ARGS)
endif
	@$(PYTEST) $(PYTEST_ARGS)

.PHONY: test-matrix
test-matrix: venv test-tools ## Run the tests of the SQL and of the runner on PostgreSQL 14 to 18, and on every Python at hand
	@rm -f $(TEST_COUNTS)
	@$(INTERPRETERS) pythons $(PYTEST_ARGS)
	@PG_VERSIONS="14 15 16 17 18" $(PYTEST) tests/system tests/runner tests/lookahead tests/conformance tests/races tests/crash $(PYTEST_ARGS)

.PHONY: soak
soak: venv test-tools ## Run the crash tests for long: make soak CRASH_RUNS=5000 (CRASH_SEED=… repeats a seed)
	@CRASH_RUNS=$(or $(CRASH_RUNS),5000) $(VENV)/bin/pytest tests/crash $(PYTEST_ARGS)

.PHONY: chaos
chaos: venv test-tools ## Kill operator, Jobs, PostgreSQL and API server at random: make chaos CHAOS_ROUNDS=200 (CHAOS_SEED=… repeats)
	@CHAOS_ROUNDS=$(or $(CHAOS_ROUNDS),200) $(PYTEST) tests/chaos $(PYTEST_ARGS)

.PHONY: bench-runner
bench-runner: venv ## Measure the runner beside golang-migrate and psql; writes bench/results/runner.*
	@$(VENV)/bin/python -m bench.runner $(BENCH_ARGS)

.PHONY: bench-commands
bench-commands: venv ## Measure commands that run no file beside golang-migrate's; writes bench/results/commands.*
	@$(VENV)/bin/python -m bench.commands $(BENCH_ARGS)

.PHONY: bench-directories
bench-directories: venv ## Measure directories beside golang-migrate: make bench-directories BENCH_ARGS="CHECKOUT …"; writes bench/results/directories.*
	@$(VENV)/bin/python -m bench.directories $(BENCH_ARGS)

.PHONY: bench-latency
bench-latency: venv ## Measure kubectl apply to Applied beside Jobs that do nothing; writes bench/results/latency.*
	@$(VENV)/bin/python -m bench.latency $(BENCH_ARGS)

.PHONY: bench-scale
bench-scale: venv ## Measure thousands of sets at rest, and a hundred at once: make bench-scale BENCH_ARGS="--sizes 1000"; writes bench/results/scale.*
	@$(VENV)/bin/python -m bench.scale $(BENCH_ARGS)

.PHONY: bench
bench: bench-runner bench-commands bench-directories bench-scale bench-latency ## Run every benchmark, one after the other

.PHONY: scenarios
scenarios: venv cluster ## Record what is seen in each scenario, and make docs/scenarios.md of it
	@SCENARIOS=record $(PYTEST) tests/e2e -k "scenarios or faults or config_maps" $(PYTEST_ARGS)
	@$(VENV)/bin/python -m tests.e2e.scenarios

.PHONY: terminal
terminal: venv ## Record what each command shows, and make docs/terminal.md and its pictures of it
	@TERMINAL=record PG_VERSIONS=15 $(PYTEST) tests/terminal $(PYTEST_ARGS)
	@$(VENV)/bin/python -m tests.terminal.page

.PHONY: test-fast
test-fast: venv ## Run what needs neither cluster nor PostgreSQL
	@$(VENV)/bin/pytest tests/unit tests/lint tests/static tests/docs $(PYTEST_ARGS)

# In a copy, as the files are changed in place, and in an environment of its own.
.PHONY: mutants
mutants: $(VENV)-mutants/.installed ## Change core/ and decisions/ in small ways, and see whether its tests notice: make mutants MUTANTS=200 (SEED=… repeats)
	@$(VENV)-mutants/bin/python -m tests.mutants --count $(or $(MUTANTS),200) $(if $(SEED),--seed $(SEED)) $(MUTANTS_ARGS)

$(VENV)-mutants/.installed: requirements-dev.lock requirements-mutants.lock | python
	$(PYTHON) -m venv --clear $(VENV)-mutants
	$(VENV)-mutants/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-dev.lock
	$(VENV)-mutants/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps -r requirements-mutants.lock
	@touch $@

##@ The code

.PHONY: lint
lint: venv ## Check style, types and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

.PHONY: format
format: venv ## Format, and fix what can be fixed safely
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: generate
generate: venv ## Make everything that is generated: the CRD, and the generated parts of the docs and of the system track
	$(VENV)/bin/python -m fluxbase_migrations.api.crd --write
	$(VENV)/bin/python -m fluxbase_migrations.api.reference --write
	$(VENV)/bin/python -m tests.system.contents
	$(VENV)/bin/python -m tests.e2e.scenarios
	$(VENV)/bin/python -m tests.terminal.page
	$(VENV)/bin/python -m tests.generate.pages
	$(VENV)/bin/python -m tests.generate.commands

LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
# The plugin's archive has no use for the client's asynchronous half.
ASYNCHRONOUS = aiohappyeyeballs aiohttp aiohttp-retry aiosignal attrs frozenlist multidict propcache yarl
.PHONY: lock
lock: ## Renew the lock files from pyproject.toml (needs uv)
	$(LOCK) pyproject.toml --extra kubectl --extra operator -o requirements.lock
	$(LOCK) pyproject.toml -c requirements.lock -o requirements-runner.lock
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["kubectl"], sep="\n")' \
		| $(LOCK) - -c requirements.lock $(addprefix --no-emit-package ,$(ASYNCHRONOUS)) -o requirements-kubectl.lock
	$(LOCK) pyproject.toml --all-extras --group dev -c requirements.lock -o requirements-dev.lock
	# yattag is for reports in HTML only, and comes without a wheel.
	$(LOCK) --group mutants -c requirements-dev.lock --no-emit-package yattag -o requirements-mutants.lock
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | $(LOCK) - -o requirements-build.lock

.PHONY: krew
krew: venv ## Build the krew plugin into dist/krew: make krew RELEASE_URL=… HOMEPAGE=…
	@$(VENV)/bin/python -m dev.krew --url $(or $(RELEASE_URL),$(error say RELEASE_URL=…, where the archives will be)) \
		--homepage $(or $(HOMEPAGE),$(error say HOMEPAGE=…, the page of the project))

##@ Migrations of this directory

.PHONY: migrate-up migrate-down migrate-create migrate-version migrate-force
migrate-up: venv ## Run all pending migrations of migrations/
	@$(MIGRATE) --source $(MIGRATIONS) up

migrate-down: venv ## Roll back the last migration
	@$(MIGRATE) --source $(MIGRATIONS) down 1

migrate-create: venv ## Create a pair of migration files: make migrate-create NAME=add_users_table
	@$(MIGRATE) --source $(MIGRATIONS) create $(or $(NAME),$(error say NAME=…, as in: make migrate-create NAME=add_users_table))

migrate-version: venv ## Show the current version
	@$(MIGRATE) --source $(MIGRATIONS) version

migrate-force: venv ## Set the version without running anything: make migrate-force VERSION=5
	@$(MIGRATE) --source $(MIGRATIONS) force -- $(or $(VERSION),$(error say VERSION=…, as in: make migrate-force VERSION=5))
