# Parley. `make help` lists the targets; `make run` and `make test` need nothing else typed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
NOOP := parley_noop_vault
STAMPS := bin/.stamp

WEB_SOURCES := web/project.inlang/settings.json $(shell find web \( -name node_modules -o -name dist -o -name paraglide -o -name project.inlang -o -name test-results -o -name journeys \) -prune -o -type f -not -name '*.go' -print)

.PHONY: help setup build run test test-web test-go journeys check lint web generate verify bench soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build everything and serve the demo: shop, widget, console
	exec bin/parley serve --demo

build: web ## build bin/parley, a static binary with the front ends inside
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/parley ./cmd/parley

web: $(STAMPS)/web ## build the front ends into web/dist

# Installed again only when the lock file's content changed.
$(STAMPS)/npm: web/package.json web/package-lock.json
	@mkdir -p $(STAMPS)
	@sum=$$(cat $^ | sha256sum); \
	if [ ! -d web/node_modules ] || [ "$$(cat $@ 2>/dev/null)" != "$$sum" ]; then (cd web && npm ci --no-audit --no-fund) && echo "$$sum" >$@; else touch $@; fi

$(STAMPS)/web: $(STAMPS)/npm $(WEB_SOURCES)
	cd web && npm run build
	@touch $@

# The linters are a module of their own, with exact versions and sums; they are built once per version and Go release.
GO_VERSION := $(STAMPS)/$(shell $(GO) env GOVERSION)
$(GO_VERSION):
	@mkdir -p $(STAMPS) && touch $@

bin/tools/.built: tools/lint/go.mod tools/lint/go.sum $(GO_VERSION)
	@echo "building the linters (a few minutes, once)"
	@mkdir -p bin/tools
	cd tools/lint && CGO_ENABLED=0 $(GO) build -o ../../bin/tools/ tool
	@touch $@

setup: ## install what the tests need of the system, if it is missing
	@tools/setup.sh

lint: bin/tools/.built ## gofmt, vet, staticcheck, golangci-lint, govulncheck
	@bad=$$(find . -name node_modules -prune -o -name '*.go' -print0 | xargs -0 gofmt -l); [ -z "$$bad" ] || { echo "gofmt: $$bad"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags $(NOOP) ./...
	bin/tools/staticcheck ./...
	bin/tools/golangci-lint run
	@tools/vulncheck.sh

test-web: $(STAMPS)/npm ## types, lint and unit tests of the front ends
	cd web && npm run check && npm test

check: lint test-web ## every static check

# Both engines are real: one PostgreSQL cluster for the whole run; each test makes its own database.
test-go: ## the Go suite with the race detector, on SQLite and PostgreSQL
	@mkdir -p bin
	$(GO) build -o bin/withpostgres ./tools/withpostgres
	bin/withpostgres $(GO) test -race -timeout 20m ./...

journeys: setup build ## the browser journeys, in Chromium
	cd web && npm run journeys --if-present

test: setup web build check verify journeys test-go ## everything that continuous integration runs

generate: $(STAMPS)/npm ## make what is generated of the sources
	$(GO) generate ./...
	cd web && npm run messages

verify: ## check that what is generated is up to date
	@tools/verify.sh

bench: build ## measure; prints JSON (docs/performance.md says how to read it)
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(NOOP) -ldflags '$(LDFLAGS)' -o bin/parley-noop-vault ./cmd/parley
	bin/parley bench chat --json --messages 1000000 --noop-binary bin/parley-noop-vault

soak: build ## the long tests: 50 rounds of kill -9 under load
	$(GO) build -o bin/withpostgres ./tools/withpostgres
	PARLEY_KILL_ROUNDS=50 bin/withpostgres $(GO) test -count=1 -timeout 90m -v -run TestKill ./cmd/parley

clean: ## remove what was built
	rm -rf bin web/node_modules web/src/paraglide
	find web/dist -mindepth 1 -not -name .keep -delete
