#!/usr/bin/env bash
# Times backup, plan, run, verify and rollback on synthetic clusters, against a throwaway etcd 3.5 that syncs to disk.
#
#   ./scripts/bench.sh [SEGMENTS…]      default: 1000 10000 50000
#
# Prints a table: median seconds of RUNS (default 3) and peak memory in MB.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly RUNS=${RUNS:-3}
readonly TARGET=${CARGO_TARGET_DIR:-target}/release
readonly ETCD=.tools/etcd-3.5/etcd
readonly QUOTA=8589934592

work=$(mktemp -d)
etcd_pid=

stop_etcd() {
    if [ -n "$etcd_pid" ]; then
        kill "$etcd_pid" 2>/dev/null || true
        wait "$etcd_pid" 2>/dev/null || true
        etcd_pid=
    fi
    rm -rf "$work/data" "$work/etcd.log"
}
trap 'stop_etcd; rm -rf "$work"' EXIT

start_etcd() {
    "$ETCD" --data-dir "$work/data" --quota-backend-bytes="$QUOTA" --logger=zap --log-outputs="$work/etcd.log" \
        --listen-client-urls=http://127.0.0.1:0 --advertise-client-urls=http://127.0.0.1:0 \
        --listen-peer-urls=http://127.0.0.1:0 2>/dev/null &
    etcd_pid=$!
    for _ in $(seq 100); do
        ETCD_ENDPOINTS=$(sed -n 's/.*serving client traffic insecurely.*"address":"\([^"]*\)".*/\1/p;T;q' "$work/etcd.log" 2>/dev/null) || true
        [ -n "$ETCD_ENDPOINTS" ] && export ETCD_ENDPOINTS && return
        sleep 0.1
    done
    echo "bench: etcd did not start" >&2
    exit 1
}

# Seconds and peak memory in MB of the tool with these arguments.
timed() {
    python3 - "$TARGET/meta-migration" "$@" <<'EOF'
import resource, subprocess, sys, time
begun = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(f"{time.monotonic() - begun:.2f} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f}")
EOF
}

median() { sort -n | awk '{ line[NR] = $0 } END { print line[int((NR + 1) / 2)] }'; }

./scripts/setup.sh
cargo build --release --locked --bin meta-migration --example make-cluster
export META_MIGRATION_SOURCE_VERSION=2.1.4 META_MIGRATION_TARGET_VERSION=2.2.16 META_MIGRATION_BACKUP_FILE="$work/migration.bak"

printf '\n| segments | backup s (MB) | plan s (MB) | run s (MB) | verify s (MB) | rollback s (MB) |\n|---|---|---|---|---|---|\n'
for segments in "${@:-1000 10000 50000}"; do
    for count in $segments; do
        "$TARGET/examples/make-cluster" "$count" "$work/cluster.bak" >/dev/null
        start_etcd
        timed rollback --backup-file "$work/cluster.bak" >/dev/null
        rm -f "$work"/times.*
        for _ in $(seq "$RUNS"); do
            rm -f "$work"/migration.bak*
            for step in backup plan run verify rollback; do
                timed "$step" >>"$work/times.$step"
            done
        done
        printf '| %s |' "$count"
        for step in backup plan run verify rollback; do
            read -r seconds memory < <(median <"$work/times.$step")
            printf ' %s (%s) |' "$seconds" "$memory"
        done
        printf '\n'
        stop_etcd
    done
done
