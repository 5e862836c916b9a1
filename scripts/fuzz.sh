#!/usr/bin/env bash
# Fuzzes the tool: fuzz.sh [seconds for each target] [targets...], 60 seconds and all targets by default.
#
#   FUZZ_JOBS  how many targets at a time (default: 2)
#   FUZZ_DIR   where corpora, logs and crashing inputs are kept (default: ~/.cache/meta-migration-fuzz)
#
# Ends with a table: executions, coverage (edges of the code), wall time and CPU time. A crash ends its target, and the script with 1.
# To see a crash again: <the program that the table names> <the file that the log names>
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ALL=(backup config convert keys restore)
readonly AT_A_TIME=${FUZZ_JOBS:-2}
readonly SECONDS_EACH=${1:-60}
readonly DIR=${FUZZ_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/meta-migration-fuzz}
readonly BUILD=${CARGO_TARGET_DIR:-$DIR/target}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=("${ALL[@]}")

install_tools() {
    command -v protoc >/dev/null || ./scripts/setup.sh
    rustup toolchain list | grep -q ^nightly || rustup toolchain install nightly --profile minimal
    cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
}

# The limits make an allocation out of proportion, or a hang, a crash. Inputs are 16 KiB at most.
fuzz() {
    local target=$1 program=$2
    local log=$DIR/$target.log
    mkdir -p "$DIR/corpus/$target" "$DIR/artifacts"
    # Where memory was allocated is known from running an input again; to note it each time is slow.
    export ASAN_OPTIONS=malloc_context_size=0:quarantine_size_mb=16:${ASAN_OPTIONS:-}
    local TIMEFORMAT='%R %U %S' status=0
    { time nice -n 19 "$program" "$DIR/corpus/$target" "$DIR/seeds/$target" -max_total_time="$SECONDS_EACH" \
        -max_len=16384 -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 \
        -artifact_prefix="$DIR/artifacts/$target-" >"$log" 2>&1 || status=$?; } 2>"$DIR/$target.time"
    echo "$status" >"$DIR/$target.status"
}

row() {
    local target=$1 program=$2
    local log=$DIR/$target.log wall user system
    read -r wall user system <"$DIR/$target.time"
    local runs edges verdict=ok
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    if [ "$(cat "$DIR/$target.status")" -ne 0 ]; then
        verdict="CRASH, see $log; $program"
        failed=1
    fi
    printf '%-8s %12s %9s %9.0f %9.0f  %s\n' "$target" "${runs:-?}" "${edges:-?}" "$wall" \
        "$(awk "BEGIN { print $user + $system }")" "$verdict"
}

install_tools
mkdir -p "$DIR"
rm -rf "$DIR/seeds"
python3 -B fuzz/seeds.py "$DIR/seeds"
cargo +nightly fuzz build --target-dir "$BUILD" --fuzz-dir fuzz
programs=$BUILD/$(rustc +nightly -vV | sed -n 's/^host: //p')/release
FUZZ_SCRATCH=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" fuzz.XXXXXX)
export FUZZ_SCRATCH
trap 'rm -rf "$FUZZ_SCRATCH"' EXIT

for target in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$AT_A_TIME" ]; do
        wait -n || true
    done
    fuzz "$target" "$programs/$target" &
done
wait

failed=0
printf '%-8s %12s %9s %9s %9s\n' target executions edges 'wall s' 'CPU s'
for target in "${targets[@]}"; do
    row "$target" "$programs/$target"
done
exit "$failed"
