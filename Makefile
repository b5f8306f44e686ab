# Everything runs by strict bash. Tools are pinned and live in .tools; nothing is installed elsewhere.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PORT ?= 8080
FUZZTIME ?= 1m
BENCH ?= .
BENCHTIME ?= 1s
# Envoys and their tests fill two cores; more packages at a time only make timeouts likelier.
TESTJOBS ?= 2

GOTESTSUM := .tools/bin/gotestsum-v1.13.0
GOLANGCI := .tools/bin/golangci-lint-v2.15.0

# A module cache that can be deleted, for caches below a temporary directory.
export GOFLAGS := $(strip $(GOFLAGS) -modcacherw $(shell git status >/dev/null 2>&1 || echo -buildvcs=false))
# Go and pip need somewhere to keep things even where there is no home.
ifeq ($(strip $(HOME)),)
export HOME := $(CURDIR)/.tools/home
endif

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' Makefile

.PHONY: all
all: build check ## Build and check: what to run before a commit

.PHONY: build
build: ## Build bin/gatehouse
	@scripts/build.sh bin/ ./cmd/gatehouse

.PHONY: run
run: ## Start the quickstart and print curl lines to try (PORT=8080; HTTPS is on PORT+363); Ctrl-C stops all
	@scripts/build.sh bin/ ./cmd/gatehouse
	scripts/build.sh bin/examples/ ./examples/quickstart/...
	export ENVOY; ENVOY="$$(scripts/envoy.py)"
	exec bin/examples/quickstart --bin bin --port $(PORT)

.PHONY: example
example: ## Run an example of examples/README.md with a gateway (NAME=redact, ARGS= its flags, PORT=8080); Ctrl-C stops all
	@export ENVOY; ENVOY="$$(scripts/envoy.py)"
	PORT=$(PORT) exec examples/run.sh $(NAME) $(ARGS)

.PHONY: test
test: $(GOTESTSUM) ## Run everything that must hold, with the real Envoy; ends with a line of counts
	@export ENVOY; ENVOY="$$(scripts/envoy.py)"
	GOTESTSUM=$(GOTESTSUM) TESTJOBS=$(TESTJOBS) scripts/test.sh

.PHONY: check
check: ## Inner loop, under three minutes: formatting, vet and the short tests, without the suites below test/
	@unformatted="$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)"
	if [[ -n $$unformatted ]]; then echo "gofmt needed:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	export ENVOY; ENVOY="$$(scripts/envoy.py)"
	go test -short -p $(TESTJOBS) $$(go list ./... | grep -v /gatehouse/test/)

.PHONY: conformance-extproc
conformance-extproc: ## Write docs/conformance/extproc.*: the emulated ext_proc filter against Envoy's
	@export ENVOY; ENVOY="$$(scripts/envoy.py)"
	go test -count=1 -run '^TestConformance$$' ./sdk/sdktest -update

.PHONY: race
race: ## Run the short tests under the race detector
	@export ENVOY; ENVOY="$$(scripts/envoy.py)"
	go test -race -short -p $(TESTJOBS) ./...

.PHONY: bench
bench: ## Run the benchmarks (BENCH=regex, BENCHTIME=1s), and compare authorizer and processor with stock servers through Envoy
	@export ENVOY; ENVOY="$$(scripts/envoy.py)"
	go run ./test/bench
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -p 1 ./...

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME=1m each
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: mutants
mutants: ## Remove each guard that a security requirement names, and demand that its test turns red (MUTANTS=text)
	@scripts/mutants.py "$(MUTANTS)"

.PHONY: lint
lint: $(GOLANGCI) ## Run the linters of .golangci.yml
	@$(GOLANGCI) run ./...

.PHONY: fresh
fresh: ## Try both commands as on a fresh machine: temporary clone, empty home, no caches (FRESH_TEST=0: only make run)
	@scripts/fresh.py

.PHONY: envoy
envoy: ## Find Envoy >= 1.40 in $ENVOY or PATH, else fetch it into .tools and verify its checksum
	@scripts/envoy.py

.PHONY: clean
clean: ## Remove what was built; fetched tools stay in .tools
	@rm -rf bin dist

$(GOTESTSUM):
	@echo "building gotestsum" >&2
	GOBIN=$(CURDIR)/.tools/bin go install gotest.tools/gotestsum@$(patsubst gotestsum-%,%,$(@F))
	mv .tools/bin/gotestsum $@

$(GOLANGCI):
	@echo "building golangci-lint; this takes a few minutes once" >&2
	GOBIN=$(CURDIR)/.tools/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(patsubst golangci-lint-%,%,$(@F))
	mv .tools/bin/golangci-lint $@
