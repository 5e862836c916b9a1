#!/usr/bin/env bash
# Builds both images (the plain one, and the one that runs as root) from deploy/Dockerfile with buildah, for this
# machine's architecture, into .tools/image/. Needs root.
#
#   ./scripts/build-image.sh [VERSION]
#
# BUILD_IMAGE=… names the image to build in. Without it a stand-in for the official Rust image is made with debootstrap
# (Debian 12 with this machine's Rust), because that needs no registry of images.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    echo "image: $*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || fail "building with buildah in a chroot needs root: run it with sudo"
packages=()
for package in buildah debootstrap; do
    command -v "$package" >/dev/null || packages+=("$package")
done
if [ ${#packages[@]} -gt 0 ]; then
    echo "image: installing ${packages[*]} with apt-get"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
# shellcheck source=scripts/image/store.sh
. scripts/image/store.sh

version=${1:-$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)}
args=(--layers --format docker --file deploy/Dockerfile
    --timestamp "$(git log -1 --format=%ct)"
    --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD)")
if [ -n "${BUILD_IMAGE:-}" ]; then
    args+=(--build-arg "BUILD_IMAGE=$BUILD_IMAGE")
else
    readonly BASE=localhost/rust-slim-bookworm
    command -v rustc >/dev/null || fail "there is no Rust to build with: install it from https://rustup.rs, or set BUILD_IMAGE"
    ./scripts/image/base.sh "$BASE"
    args+=(--build-arg "BUILD_IMAGE=$BASE" --volume "$(rustc --print sysroot):/usr/local/rust:ro"
        --volume /etc/ssl/certs:/run/host-certificates:ro)
fi
nice -n 5 buildah build "${args[@]}" --tag localhost/meta-migration .
nice -n 5 buildah build "${args[@]}" --tag localhost/meta-migration:root --target root .
