#!/usr/bin/env bash
# Tests migrate.sh: with the real kubectl, against a stand-in for Kubernetes and a real etcd with a real Milvus's metadata.
#
#   ./deploy/tests/run.sh [PART OF A TEST'S NAME…]
#
# Takes the tool from the debug build, or from META_MIGRATION_BIN.
set -euo pipefail

exec python3 "$(dirname "${BASH_SOURCE[0]}")/run.py" "$@"
