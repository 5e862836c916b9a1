#!/usr/bin/env bash
# Does to the tool everything of docs/reliability.md, exhaustively: kills it around every transaction, loses every answer, and so on.
# Takes about half an hour on two cores (THREADS says how many tests at a time: 2), against throwaway etcds.
#
#   ./scripts/stress.sh [FILTER…]      only the tests whose names contain one of these, see --list
#   ./scripts/stress.sh --list
#
# Prints a table of what was done how often. Anything lost, or not told as it should be, fails the test that found it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly BUILD=(cargo test --locked --test safety --)

if [ "${1:-}" = --list ]; then
    "${BUILD[@]}" --ignored --list 2>/dev/null | sed -n 's/: test$//p'
    exit
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

./scripts/setup.sh
ended=0
"${BUILD[@]}" --ignored --nocapture --test-threads="${THREADS:-2}" "$@" | tee "$log" || ended=$?

printf '\n| what | how often |\n|---|---|\n'
sed -n 's/^.*STRESS | \(.*\) | \([0-9]*\)$/| \1 | \2 |/p' "$log" | sort
sed -n 's/^.*STRESS | .* | \([0-9]*\)$/\1/p' "$log" | awk '{ all += $1 } END { printf "| all | %d |\n", all }'
if [ "$ended" -ne 0 ]; then
    echo "stress: not everything passed, see above" >&2
fi
exit "$ended"
