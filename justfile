# The commands of daily work. A step of the gate has its recipe here, and both call one file of `.ci/steps`.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes.
default:
    @just --list --unsorted

# Start Keyward on embedded defaults.
dev *ARGS:
    cargo run -- dev {{ ARGS }}

# Run the gate, or the named steps of it.
gate *STEPS:
    .ci/run {{ STEPS }}

# Format, lint and document, with warnings denied.
lint: format clippy docs

# Check the format.
format:
    .ci/steps/??-format

# Check the proto files.
proto:
    .ci/steps/??-proto

# Run clippy.
clippy:
    .ci/steps/??-clippy

# Build the documentation.
docs:
    .ci/steps/??-docs

# Build everything.
build:
    .ci/steps/??-build

# Build the static programs.
static:
    .ci/steps/??-static

# Run every test on SQLite and on a throw-away PostgreSQL (`cargo test` alone needs none).
test:
    .ci/steps/??-test

# Run the README's start command.
readme:
    .ci/steps/??-readme

# Run the OpenRouter SDK.
sdk:
    .ci/steps/??-sdk

# Call the API from a browser.
browser:
    .ci/steps/??-browser

# Check the OpenAPI document against the server.
schemathesis:
    .ci/steps/??-schemathesis

# Run protobuf's conformance runner.
conformance:
    .ci/steps/??-conformance

# Generate clients of the OpenAPI document.
generators:
    .ci/steps/??-generators

# Check the Helm chart.
helm:
    .ci/steps/??-helm

# Check alerts, dashboard and compose.yaml.
deploy:
    .ci/steps/??-deploy

# Restart and upgrade three processes under load.
rolling:
    .ci/steps/??-rolling

# Build and run the image.
image:
    .ci/steps/??-image

# Attack a server.
attacks:
    .ci/steps/??-attacks

# Put a server under load for a minute.
soak:
    .ci/steps/??-soak

# Check licences, sources and advisories of the dependencies.
deny:
    cargo deny check

# Measure the frequent calls against bare servers, for about half an hour.
bench *ARGS:
    cargo build --release --bin keyward
    cargo run --release -p keyward-bench -- run --server target/release/keyward {{ ARGS }}

# Measure start and idle memory of the release binary.
bench-start:
    cargo bench --bench cold_start
