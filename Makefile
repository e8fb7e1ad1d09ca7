# The three commands of this project; everything else is `storehand --help` and `cargo`.

.PHONY: demo test lint

demo: ## A shop's morning, with nothing set up: fetches model and library once, builds, plays
	cargo build --locked
	target/debug/storehand demo

test: ## Everything; what was skipped and why is printed at the end
	@.ci/test

lint: ## What .ci/run asks besides the tests
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
