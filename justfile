# The commands of daily work; `.ci/run` calls them too.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes.
default:
    @just --list

# Build everything.
build:
    cargo build --workspace --all-targets

# Run every test on SQLite and on a throw-away PostgreSQL (`cargo test` alone needs none).
test:
    tests/with-postgres cargo test --workspace

# Format, lint and document, with warnings denied.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Check licences, sources and advisories of the dependencies.
deny:
    cargo deny check

# Start Keyward on embedded defaults.
dev *ARGS:
    cargo run -- dev {{ ARGS }}

# Measure start and idle memory of the release binary.
bench:
    cargo bench --bench cold_start
