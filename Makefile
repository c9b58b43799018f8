# The commands of a day's work. `make help` lists them.
#
# KUBECONFIG and IMAGE, given together, name a cluster and an image to use; nothing is built or started then,
# and DATABASE_URL names the database. Otherwise the local cluster is used, see docs/local-cluster.md.

PYTHON ?= python3
LOCALCLUSTER = $(PYTHON) -m tests.localcluster

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ The local cluster

.PHONY: python
python:
	@command -v $(PYTHON) >/dev/null || { apt-get -q update && apt-get -q install -y --no-install-recommends python3; }

.PHONY: up
up: python ## Start the cluster with PostgreSQL, install the chart, apply examples/shop, and wait until it is Applied
	@$(LOCALCLUSTER) demo

.PHONY: down
down: ## Undo what `make up` did; what was built stays cached (PURGE=1 removes that, too)
	@$(LOCALCLUSTER) down $(if $(PURGE),--purge)

.PHONY: cluster
cluster: python ## Start the cluster with PostgreSQL, and nothing in it
	@$(LOCALCLUSTER) up

.PHONY: status
status: ## Show the cluster's parts, its node and its pods
	@$(LOCALCLUSTER) status

.PHONY: kubectl helm psql
kubectl: ## Run kubectl against the cluster: make kubectl ARGS="get fbms -A"
	@$(LOCALCLUSTER) kubectl $(ARGS)

helm: ## Run helm against the cluster: make helm ARGS="list -A"
	@$(LOCALCLUSTER) helm $(ARGS)

psql: ## Run psql as the application's role: make psql ARGS="-c 'SELECT * FROM migrations.app'"
	@$(LOCALCLUSTER) psql $(ARGS)
