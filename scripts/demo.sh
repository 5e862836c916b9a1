#!/usr/bin/env bash
# The main job end to end, on metadata that a real Milvus 2.1.0 wrote: backup, run, rollback, against a throwaway etcd.
# Leaves nothing running and nothing behind but the build.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SAMPLE=testdata/milvus-2.1.0/etcd-21.snap
readonly TOOL="${CARGO_TARGET_DIR:-target}"/release/meta-migration

work=$(mktemp -d)
etcd_pid=

clean_up() {
    if [ -n "$etcd_pid" ]; then
        kill "$etcd_pid" 2>/dev/null || true
        wait "$etcd_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT

step() { printf '\n=== %s\n' "$*"; }

# etcd picks a free port itself and logs it.
start_etcd() {
    ETCDCTL_API=3 etcdctl snapshot restore "$SAMPLE" --data-dir "$work/data" >/dev/null 2>&1
    etcd --data-dir "$work/data" --logger=zap --log-outputs="$work/etcd.log" \
        --listen-client-urls=http://127.0.0.1:0 --advertise-client-urls=http://127.0.0.1:0 \
        --listen-peer-urls=http://127.0.0.1:0 &
    etcd_pid=$!
    for _ in $(seq 100); do
        endpoint=$(sed -n 's/.*serving client traffic insecurely.*"address":"\([^"]*\)".*/\1/p;T;q' "$work/etcd.log" 2>/dev/null) || true
        [ -n "$endpoint" ] && return
        kill -0 "$etcd_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "demo: etcd did not start; its log:" >&2
    tail "$work/etcd.log" >&2
    exit 1
}

# What migrate.sh and the Milvus Operator hand over.
write_config() {
    cat >"$work/migration.yaml" <<EOF
cmd:
  type: $1
config:
  sourceVersion: v2.1.0
  targetVersion: v2.2.16
  backupFilePath: $work/migration.bak
etcd:
  endpoints:
    - $endpoint
  rootPath: by-dev
  metaSubPath: meta
EOF
}

run_tool() {
    write_config "$1"
    "$TOOL" -config="$work/migration.yaml"
}

dump() { ETCDCTL_API=3 etcdctl --endpoints="$endpoint" get --prefix by-dev/meta/ --write-out=simple | sha256sum; }

./scripts/setup.sh
step "building"
cargo build --release --locked
step "a throwaway etcd with the metadata of a Milvus 2.1.0: 20 collections, 18 indexes, 6 aliases"
start_etcd
before=$(dump)
step "backup: everything into a file first"
run_tool backup
step "run: from the 2.1 layout to the 2.2 layout"
run_tool run
step "run again: nothing is left to do"
run_tool run
step "rollback: back to what the backup holds"
run_tool rollback
if [ "$(dump)" != "$before" ]; then
    echo "demo: the metadata is not what it was before" >&2
    exit 1
fi
step "the metadata is byte for byte what it was before"
