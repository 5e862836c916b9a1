#!/usr/bin/env bash
# Checks what can be checked of deploy/ without a cluster and without a Docker engine, in seconds: manifests against the
# schemas of Kubernetes, compose files by docker-compose, shell scripts by shellcheck. Installs what is missing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.tools/deploy-venv

packages=()
command -v shellcheck >/dev/null || packages+=(shellcheck)
compose=(docker compose)
if ! docker compose version >/dev/null 2>&1; then
    compose=(docker-compose)
    command -v docker-compose >/dev/null || packages+=(docker-compose)
fi
if [ ${#packages[@]} -gt 0 ]; then
    echo "check: installing ${packages[*]} with apt-get"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
./scripts/image/venv.sh "$VENV"

echo "check: manifests"
"$VENV/bin/python" -B scripts/image/check_manifests.py
if command -v kubectl >/dev/null; then
    kubectl kustomize deploy/manifests >/dev/null
fi

echo "check: compose files"
"${compose[@]}" --file deploy/compose/meta-migration.yml config >/dev/null
ETCD_DATA_DIRECTORY=/var/lib/milvus/etcd "${compose[@]}" --file deploy/compose/embedded.yml config >/dev/null
if env -u ETCD_DATA_DIRECTORY "${compose[@]}" --file deploy/compose/embedded.yml config >/dev/null 2>&1; then
    echo "check: embedded.yml does without ETCD_DATA_DIRECTORY" >&2
    exit 1
fi

echo "check: scripts"
shellcheck --external-sources scripts/*.sh scripts/image/*.sh scripts/release/*.sh deploy/*.sh e2e/kube/*.sh e2e/kube/src/*.sh
