#!/usr/bin/env bash
# The upgrade with real servers, from PyPI: Milvus 2.1.0 makes collections, our binary migrates the metadata, newer
# versions of Milvus must show, find and change everything; then back to 2.1.0.
#
#   ./scripts/e2e.sh                  all targets
#   ./scripts/e2e.sh 2.2.16           one of them
#   ./scripts/e2e.sh --small …        few collections, compared only: neither used nor rolled back
#   ./scripts/e2e.sh --update-docs …  also write the result into docs/compatibility.md
#   ./scripts/e2e.sh --reuse …        with the data that 2.1.0 made in the last run with the same E2E_WORK
#
#   META_MIGRATION_BIN   the binary to test (otherwise the release build of this checkout)
#   E2E_WORK             where servers keep data and logs; kept afterwards (otherwise a scratch folder)
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TARGETS=(2.2.16 2.3.5)

say() { echo "e2e: $*"; }

fail() {
    echo "e2e: $*" >&2
    exit 1
}

update_docs=no
reuse=no
versions=()
for argument in "$@"; do
    case "$argument" in
        --update-docs) update_docs=yes ;;
        --reuse) reuse=yes ;;
        --small) export E2E_SMALL=yes ;;
        *)
            [[ " ${TARGETS[*]} " = *" $argument "* ]] ||
                fail "unknown argument '$argument': known are ${TARGETS[*]}, --small, --reuse and --update-docs"
            versions+=("$argument")
            ;;
    esac
done
if [ ${#versions[@]} -eq 0 ]; then
    versions=("${TARGETS[@]}")
fi

if [ "$update_docs" = yes ] && { [ -n "${E2E_SMALL:-}" ] || [ ${#versions[@]} -ne ${#TARGETS[@]} ]; }; then
    fail "--update-docs wants everything: without --small, and all targets"
fi
[ "$(id -u)" -eq 0 ] || fail "needs root: the servers run in network and mount namespaces of their own"

./e2e/setup.sh "${versions[@]}"

if [ -z "${META_MIGRATION_BIN:-}" ]; then
    say "building the release binary"
    cargo build --release --locked --quiet
    META_MIGRATION_BIN=$(cargo metadata --no-deps --format-version 1 |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/release/meta-migration
fi
export META_MIGRATION_BIN
[ -x "$META_MIGRATION_BIN" ] || fail "$META_MIGRATION_BIN is not there: correct META_MIGRATION_BIN"

if [ -n "${E2E_WORK:-}" ]; then
    mkdir -p "$E2E_WORK"
    work=$(realpath "$E2E_WORK")
    # The servers have folders of their own there (e2e/servers.py).
    [[ "$work/" != /tmp/milvus/* && "$work/" != /var/bin/* ]] || fail "E2E_WORK cannot be in /tmp/milvus or /var/bin"
    exec 9>"$work/lock"
    flock -n 9 || fail "another run works in $work"
    rm -f "$work/results.json"
    [ "$reuse" = yes ] || rm -rf "$work"/site-*
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi

results=$work/results.json
status=0
# The process namespace sees to it that no server outlives the run, however it ends.
PYTHONDONTWRITEBYTECODE=1 unshare --net --mount --pid --fork --mount-proc --kill-child \
    python3 e2e/main.py "$work" "$results" "${versions[@]}" || status=$?

if [ -f "$results" ]; then
    python3 e2e/report.py "$results"
    if [ "$update_docs" = yes ]; then
        python3 e2e/report.py "$results" docs/compatibility.md
        say "docs/compatibility.md is written"
    fi
fi
if [ "$status" -ne 0 ]; then
    fail "not everything is as it should be, see above${E2E_WORK:+ (logs: $work/site-*/logs)}"
fi
say "all is as it should be"
