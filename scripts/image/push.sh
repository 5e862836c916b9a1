#!/usr/bin/env bash
# Pushes an image that scripts/build-image.sh has built; `buildah login` comes before.
#
#   push.sh TAG NAME      TAG: latest or root; NAME: where it goes, like registry.example/meta-migration:1.0.0-rc.1
set -euo pipefail

readonly TAG=$1
readonly NAME=$2

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/image/store.sh
. scripts/image/store.sh
buildah push "localhost/meta-migration:$TAG" "docker://$NAME"
