# The two commands of the README are `make run` and `make test`; each sets up what it needs.

CARGO ?= cargo
PLUGINS := noise-filter redact-secrets ci-triage merge-ready all-complete notify-webhook

# How long each fault run of `make soak` takes, and the outage in it, in seconds.
SOAK_SECONDS ?= 60

.PHONY: help setup guests language-guests build run test soak lint instructions bench bench-short bench-scale clean

help:
	@echo "make run     build everything, start a host, feed it a recorded day, stay up"
	@echo "make test    every test: units, properties, and promises from outside"
	@echo "make soak    the fault runs of NATS for SOAK_SECONDS (60) each, which make test has in short"
	@echo "make lint    format, clippy, docs"
	@echo "make instructions  the hot paths' instruction counts beside those that are committed"
	@echo "make bench   the figures beside the bare things, with ten million events (bench-short: one)"
	@echo "make bench-scale   how the host grows, and the pictures of it in docs/scale/"
	@echo "make setup   install what the above need (they do it themselves)"
	@echo "make guests  build the plugins, the examples and the tests' components into target/"

setup:
	@scripts/setup

guests: setup
	@scripts/build-guests target/plugins $(PLUGINS)
	@scripts/build-guests target/test-guests --examples ennio-test-guests
	@scripts/build-language-guests target/language-guests

language-guests: setup
	@scripts/build-language-guests target/language-guests

build: setup
	$(CARGO) build --release --locked -p ennio

run: build
	@scripts/build-guests target/plugins $(PLUGINS)
	@scripts/run

test: guests
	ENNIO_NATS_SERVER=$(CURDIR)/target/tools/nats-server $(CARGO) test --locked --workspace

soak: guests
	ENNIO_NATS_SERVER=$(CURDIR)/target/tools/nats-server ENNIO_SOAK_SECONDS=$(SOAK_SECONDS) \
		$(CARGO) test --locked -p ennio --test promises -- nats_faults --nocapture --test-threads 1

lint:
	$(CARGO) fmt --all --check
	rustfmt --check --edition 2024 host/templates/plugin/rust/*/src/lib.rs
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

bench: guests
	ENNIO_NATS_SERVER=$(CURDIR)/target/tools/nats-server $(CARGO) bench --locked -p ennio --bench figures -- --full
	$(CARGO) bench --locked -p ennio --bench reload

instructions: guests
	$(CARGO) bench --locked --profile dev -p ennio --bench instructions

bench-scale: guests
	$(CARGO) bench --locked -p ennio --bench figures -- --scale

bench-short: guests
	ENNIO_NATS_SERVER=$(CURDIR)/target/tools/nats-server $(CARGO) bench --locked -p ennio --bench figures

clean:
	$(CARGO) clean
