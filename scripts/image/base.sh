#!/usr/bin/env bash
# Makes a stand-in for the official image rust:slim-bookworm where no registry of images can be reached: Debian 12 from
# debootstrap with gcc, in the local store of buildah. The Rust toolchain is mounted into it while building.
#
#   base.sh NAME
set -euo pipefail

readonly NAME=$1

if buildah inspect --type image "$NAME" >/dev/null 2>&1; then
    exit 0
fi
echo "image: making the build base $NAME with debootstrap (once)"
root=$(mktemp -d)
container=
clean_up() {
    if [ -n "$container" ]; then
        buildah rm "$container" >/dev/null
    fi
    rm -rf "$root"
}
trap clean_up EXIT

debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev bookworm "$root" http://deb.debian.org/debian >"$root.log" 2>&1 ||
    { tail -20 "$root.log" >&2; exit 1; }
rm -rf "$root.log" "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
# As in the official image; the CA certificates of this machine serve the build only.
mkdir -p "$root/usr/local/cargo" "$root/usr/local/rust"
printf '[http]\ncainfo = "/run/host-certificates/ca-certificates.crt"\n' >"$root/usr/local/cargo/config.toml"
container=$(buildah from scratch)
buildah add --quiet "$container" "$root" / >/dev/null
buildah config --env CARGO_HOME=/usr/local/cargo \
    --env PATH=/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet "$container" "$NAME" >/dev/null
