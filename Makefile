# `make demo` and `make test` do everything themselves on a Debian machine with build-essential, git, apt and Rust.
#
# There is no RUSTFLAGS here and no .cargo/config.toml: rustc links with its own LLD by default, which was measured to be
# as quick as mold on this tree, and flags that only `make` passes would make `make` and plain `cargo` rebuild each
# other's work.

.PHONY: help demo test check bench fuzz fmt setup setup-tests image

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

demo: setup ## a call to the demo agent, printed as it happens; leaves a transcript and a recording
	cargo run --locked --release -- demo

test: setup-tests ## everything that must pass, cheapest first
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --no-default-features --lib
	cargo test --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	cargo build --locked --release
	cargo test --locked --release --test mutation
	sipp-scenarios/run --binary target/release/hookswitch

check: ## the quick part of the tests: format, lints, cores
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --no-default-features --lib

bench: ## measure
	cargo bench --locked

fuzz: ## a minute of fuzzing for each target; needs cargo-fuzz, see fuzz/README.md
	for target in $$(cargo fuzz list); do \
	    mkdir -p fuzz/artifacts/corpus/$$target && \
	    RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/artifacts/corpus/$$target fuzz/corpus/$$target -- \
	        -max_total_time=60 -timeout=5 || exit 1; \
	done

fmt: ## format the sources
	cargo fmt

setup: ## install what running takes and is missing
	@scripts/setup.sh run

setup-tests: ## install what the tests take and is missing
	@scripts/setup.sh run test

image: ## build the container image `hookswitch`
	docker build --tag hookswitch .
