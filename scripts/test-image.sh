#!/usr/bin/env bash
# Builds the image from deploy/Dockerfile and tests it as each of its callers starts it, against real etcds. Needs root:
# buildah builds in a chroot, and runc starts the containers. Installs what is missing; the first time takes some
# minutes, later ones build only what has changed.
#
#   ./scripts/test-image.sh [TEST…]      a test like test_image.Callers.test_operator; default: all
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.tools/deploy-venv

./scripts/setup.sh
if ! command -v runc >/dev/null; then
    echo "image: installing runc with apt-get"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends runc >/dev/null
fi
./scripts/build-image.sh
./scripts/image/venv.sh "$VENV"
python=$PWD/$VENV/bin/python
# shellcheck source=scripts/image/store.sh
. scripts/image/store.sh
cd scripts/image
exec "$python" -B -m unittest --verbose "${@:-test_image}"
