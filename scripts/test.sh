#!/usr/bin/env bash
# Passes all tests: formatting, lints, unit tests, the binary against real etcd servers 3.4 and 3.5, and migrate.sh with kubectl.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

./scripts/setup.sh
cargo fmt --all --check
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
cargo test --locked --no-run

# Both kinds of tests wait more than they work, so they run side by side; what those of migrate.sh print comes last.
said=$(mktemp)
./deploy/tests/run.sh >"$said" 2>&1 &
migrate_sh=$!
trap 'kill "$migrate_sh" 2>/dev/null || true; rm -f "$said"' EXIT

failed=no
cargo test --locked --no-fail-fast || failed=yes
wait "$migrate_sh" || failed=yes
cat "$said"
if [ "$failed" = yes ]; then
    echo "test: FAILED, see above" >&2
    exit 1
fi
echo "test: all passed"
