#!/usr/bin/env bash
# migrate.sh and the manifests on a real Kubernetes: real control plane, nodes, containers; a stand-in for Milvus that does with its
# metadata what Milvus does. e2e/kube/README.md tells how.
#
#   ./scripts/kube.sh setup              builds and gets what is needed into .tools/kube (or KUBE_FOLDER): some minutes of CPU
#   ./scripts/kube.sh test [CASE…]       starts a cluster there, runs the cases (all, or those whose names contain one of these), ends it
#   ./scripts/kube.sh operator FOLDER [CASE…]   the same with the Milvus Operator, a release of which is in FOLDER
#   KUBECONFIG=… ./scripts/kube.sh test  on that cluster instead, such as kind; it has to have the images (e2e/kube/README.md)
#
#   META_MIGRATION_BIN  the program to test (otherwise the debug build)
#
# Exit codes: 0 all passed · 1 something failed · 77 it cannot run here ("skipped: no …")
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${KUBE_FOLDER:-$PWD/.tools/kube}

skip() {
    echo "kube: skipped: no $*" >&2
    exit 77
}

needs() {
    local command
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || skip "Linux on x86-64"
    [ "$(id -u)" -eq 0 ] || skip "root: nodes are namespaces of this machine"
    for command in "$@"; do command -v "$command" >/dev/null || skip "$command"; done
    grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || skip "overlayfs"
}

setup() {
    needs go gcc python3 pip apt-get dpkg-deb unzip openssl
    local tool=${META_MIGRATION_BIN:-${CARGO_TARGET_DIR:-target}/debug/meta-migration}
    [ -x "$tool" ] || cargo build --locked
    ./e2e/kube/setup.sh "$folder" "$tool"
}

# run_cases SCRIPT ARGUMENT…: on a cluster of its own, or on that of KUBECONFIG.
run_cases() {
    if [ -n "${KUBECONFIG:-}" ]; then
        exec python3 "$@"
    fi
    needs python3 unshare nsenter ip openssl
    [ -d "$folder/parts/registry" ] || skip "cluster in $folder: ./scripts/kube.sh setup"
    unshare --mount --net --pid --fork true 2>/dev/null || skip "right to make namespaces"
    rm -f "$folder/ready"
    python3 e2e/kube/cluster.py up "$folder" 2 >"$folder/cluster.log" 2>&1 &
    cluster=$!
    trap 'kill "$cluster" 2>/dev/null; wait "$cluster" 2>/dev/null || true' EXIT
    local waited=0
    until [ -e "$folder/ready" ]; do
        if [ "$waited" -ge 600 ] || ! kill -0 "$cluster" 2>/dev/null; then
            tail -n 20 "$folder/cluster.log" >&2
            echo "kube: the cluster does not come up, see $folder/cluster.log and $folder/logs" >&2
            exit 1
        fi
        waited=$((waited + 1))
        sleep 1
    done
    OWN_CLUSTER=yes python3 e2e/kube/cluster.py shell "$folder" python3 "$@"
}

# Its image is in FOLDER/root, which is not asked for on the cluster of KUBECONFIG.
run_operator() {
    local release=${1:-} image
    [ -f "$release/deployment.yaml" ] || skip "release of the Milvus Operator in '$release' (e2e/kube/README.md)"
    release=$(cd "$release" && pwd)
    shift
    if [ -z "${KUBECONFIG:-}" ] && [ -d "$folder/parts/registry" ]; then
        image=$(sed -n "s/^ *image: '\(milvusdb\/milvus-operator:[^']*\)'$/\1/p" "$release/deployment.yaml" | sort -u)
        python3 e2e/kube/images/images.py "$folder/parts/registry" "$folder/bin" "$folder/work/root/bin/busybox" "$image" "$release/root"
    fi
    run_cases "$PWD/e2e/kube/operator_cases.py" "$release" "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
    setup) setup ;;
    test) run_cases "$PWD/e2e/kube/cases.py" "$@" ;;
    operator) run_operator "$@" ;;
    *)
        sed -n '5,10s/^# \{0,1\}//p' "$0" >&2
        exit 1
        ;;
esac
