#!/usr/bin/env bash
# Passes all tests: formatting, lints, unit tests, the binary against real etcd servers 3.4 and 3.5, and migrate.sh with kubectl.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

./scripts/setup.sh
cargo fmt --all --check
cargo clippy --locked --all-targets -- -D warnings
cargo test --locked
./deploy/tests/run.sh
