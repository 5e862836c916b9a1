#!/usr/bin/env bash
# The last step of a release, in the workflow: one name for the images of both architectures, migrate.sh with its digest, checksums,
# signatures, and the release itself. Needs docker buildx, cosign and gh. Not tried outside of it.
#
#   publish.sh VERSION
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly VERSION=$1
readonly IMAGE=ghcr.io/meta-migration/meta-migration

signed=()
for name in "$IMAGE:$VERSION" "$IMAGE:$VERSION-root"; do
    docker buildx imagetools create --tag "$name" "$name-amd64" "$name-arm64"
    signed+=("$IMAGE@$(docker buildx imagetools inspect "$name" --format '{{.Manifest.Digest}}')")
done
./scripts/release/pin.sh "${signed[0]}" dist/migrate.sh
rm -f dist/SHA256SUMS
(cd dist && sha256sum -- * >SHA256SUMS)
./scripts/release/sign.sh dist/SHA256SUMS "${signed[@]}"
options=(--verify-tag --title "v$VERSION" --notes-from-tag)
[[ $VERSION != *-* ]] || options+=(--prerelease)
gh release create "v$VERSION" "${options[@]}" dist/*
