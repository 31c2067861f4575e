# The ways in. Each is one small script under scripts/, where the work is.
.DEFAULT_GOAL := help
.PHONY: help up down web check test test-kubernetes screenshots image bench advisories

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Install what is missing, build, start the platform, deploy examples/hello (ARGS= for coracle up)
	@scripts/up $(ARGS)

down: ## Stop the platform; data and images stay
	@scripts/down

web: ## Build the dashboard, which the program carries (cargo build takes what is there)
	@scripts/web build

check: ## Format, lints, dependencies, shell scripts
	@scripts/check

test: ## Every test that needs no cluster, against the real Docker Engine
	@scripts/test

test-kubernetes: ## The tests that need a cluster: KUBECONFIG names it (scripts/test-kubernetes says more)
	@scripts/test-kubernetes

screenshots: ## Every page of the dashboard, light, dark and as on a phone
	@scripts/web screenshots

image: ## An image of Coracle itself, from the release build
	@scripts/web build && cargo build --release --locked -p coracle && scripts/image

bench: ## Measure beside a peer and print ratios (bench/README.md)
	@bench/run

advisories: ## Look for known vulnerabilities in dependencies (needs the Internet)
	@cargo deny --all-features check advisories
