#!/usr/bin/env bash
# The upgrade with real servers, from PyPI: Milvus 2.1.0 makes collections, our binary migrates the metadata, newer
# versions of Milvus must show, find and change everything; then back to 2.1.0.
#
#   ./scripts/e2e.sh                  all targets of docs/compatibility.md
#   ./scripts/e2e.sh 2.2.9 2.3.0      these: any 2.2 or 2.3 that PyPI has
#   ./scripts/e2e.sh --small …        few and young collections, compared only: neither used nor rolled back (of a
#                                     cluster: released and loaded, restarted, rolled back)
#   ./scripts/e2e.sh --way-back …     instead: until when there is a way back, with and without the settings that keep it
#   ./scripts/e2e.sh --cluster …      with a cluster: a process for each component, two of each kind of worker but index
#                                     nodes, Kafka or Pulsar, MinIO (docs/clusters.md). Needs gcc, a JDK 17, Maven and Go
#                                     --log kafka or --log pulsar names the message log (kafka if it is not said)
#   ./scripts/e2e.sh --cluster --retention …   instead: Kafka's retention has taken the beginning of the message log
#   ./scripts/e2e.sh --cluster --faults …      instead: etcd and Milvus disturb the tool while it works
#   ./scripts/e2e.sh --cluster --beside …      instead: components of 2.1.0 are started beside the newer cluster's, as by a
#                                     rolling upgrade of the operator; E2E_PARTS names what of cluster/beside.py to try
#   ./scripts/e2e.sh --update-docs …  also write the result into docs/compatibility.md
#   ./scripts/e2e.sh --again …        has 2.1.0 make its data again (a quarter of an hour), even if they are there
#
#   META_MIGRATION_BIN   the binary to test (otherwise the release build of this checkout)
#   E2E_WORK             where servers keep data and logs; kept afterwards (otherwise a scratch folder)
#   E2E_DATA             where the data that 2.1.0 made are kept (otherwise .tools/e2e-data)
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TARGETS=(2.2.4 2.2.9 2.2.12 2.2.16 2.3.0 2.3.5)

say() { echo "e2e: $*"; }

fail() {
    echo "e2e: $*" >&2
    exit 1
}

update_docs=no
way=there
options=()
versions=()
log=
for argument in "$@"; do
    if [ "$log" = next ]; then
        [[ $argument = kafka || $argument = pulsar ]] || fail "--log $argument: a cluster runs on kafka or pulsar here"
        log=$argument
        continue
    fi
    case "$argument" in
        --log) log=next ;;
        --update-docs) update_docs=yes ;;
        --again) options+=("$argument") ;;
        --way-back) way="way-back" ;;
        --retention | --faults | --beside) way=${argument#--} ;;
        --small) export E2E_SMALL=yes ;;
        --cluster) export E2E_CLUSTER=yes ;;
        2.[23].[0-9]*) versions+=("$argument") ;;
        *) fail "unknown argument '$argument': known are versions of 2.2 and 2.3, --small, --cluster, --retention, --faults, --beside, --way-back, --again and --update-docs" ;;
    esac
done
[ "$log" != next ] || fail "--log wants the name of a message log: kafka or pulsar"
if [ "$log" = pulsar ]; then
    [ -n "${E2E_CLUSTER:-}" ] || fail "--log goes with --cluster only"
    [ "$way" != retention ] || fail "--retention is made for kafka"
    export E2E_LOG=pulsar
fi
if [ ${#versions[@]} -eq 0 ]; then
    versions=("${TARGETS[@]}")
fi

if [ "$update_docs" = yes ] && { [ -n "${E2E_SMALL:-}" ] || [ "$way" != there ]; }; then
    fail "--update-docs goes with neither --small, --way-back, --retention, --faults nor --beside"
fi
if [[ $way = retention || $way = faults || $way = beside ]] && [ -z "${E2E_CLUSTER:-}" ]; then
    fail "--$way goes with --cluster only"
fi
[ "$(id -u)" -eq 0 ] || fail "needs root: the servers run in network and mount namespaces of their own"

./e2e/setup.sh "${versions[@]}"
if [ -n "${E2E_CLUSTER:-}" ]; then
    ./e2e/cluster/setup.sh "${versions[@]}"
fi

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
    rm -rf "$work"/site-*
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi

results=$work/results.json
data=${E2E_DATA:-.tools/e2e-data}
mkdir -p "$data"
data=$(realpath "$data")
status=0
# The process namespace sees to it that no server outlives the run, however it ends.
PYTHONDONTWRITEBYTECODE=1 unshare --net --mount --pid --fork --mount-proc --kill-child \
    python3 e2e/main.py --work "$work" --kept "$data" --results "$results" --way "$way" "${options[@]}" "${versions[@]}" || status=$?

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
