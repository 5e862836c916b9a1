#!/usr/bin/env bash
# Times backup, plan, run, verify and rollback on synthetic clusters, against a throwaway etcd 3.5 that syncs to disk, and holds
# them against etcd's own speed in the same round.
#
#   ./scripts/bench.sh [--rounds N] [--members N] [--delay MILLISECONDS] [--rate MEGABYTES] [--compacted] [--quota GiB] [--sizes N,N…] [--ways BATCH:IN_FLIGHT,…] [--log] [--whole-way] [--gogc PERCENT] [--snapshot-count N] [SEGMENTS…]
#
# With --whole-way each size goes there and back once, without floors, and every key is compared in the end; of several sizes the
# growth is fitted. A million segments take 24 GiB of memory, 35 of disk, and for etcd --gogc 40 --snapshot-count 2000.
#
# Default: three rounds of 10000 50000 200000 segments, one member, no delay, three versions of each key.
#
# Prints tables of medians, and saves every number as JSON in target/bench.json.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TARGET=${CARGO_TARGET_DIR:-target}

./scripts/setup.sh
cargo build --release --locked --bin meta-migration --example make-cluster --example floors --example delay
exec python3 scripts/bench/bench.py --target "$TARGET/release" --etcd .tools/etcd-3.5 --json "$TARGET/bench.json" "$@"
