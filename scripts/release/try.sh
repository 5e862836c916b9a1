#!/usr/bin/env bash
# Installs the program from its archive on a bare root file system and does the main job there: the sample of the archive, in an etcd,
# plan, backup, run, verify, rollback. Bare: Debian's dash, coreutils and etcd with their libraries, unpacked from packages, and nothing of
# this machine; no network but loopback. Needs root, for chroot.
#
#   try.sh [ARCHIVE]     dist/meta-migration-VERSION-x86_64-unknown-linux-musl.tar.gz by default
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { echo "try: $*"; }

[ "$(id -u)" -eq 0 ] || { say "needs root, for chroot" >&2; exit 1; }
archive=${1:-$(echo dist/meta-migration-*-"$(uname -m)"-unknown-linux-musl.tar.gz)}
[ -f "$archive" ] || { say "there is no $archive: run scripts/release.sh" >&2; exit 1; }
archive=$(realpath "$archive")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# Bare Debian: packages without their scripts, so that it takes seconds.
packages=(dash coreutils libc6 libacl1 libattr1 libgmp10 libpcre2-8-0 libselinux1 libssl3 libgcc-s1 base-files etcd-server etcd-client tar gzip sed)
mkdir "$root/packages"
(cd "$root/packages" && apt-get download -qq "${packages[@]}" 2>/dev/null)
for package in "$root"/packages/*.deb; do
    dpkg-deb --extract "$package" "$root"
done
rm -rf "$root/packages"
mkdir -p "$root/tmp" "$root/dev" "$root/root"
: >"$root/dev/null"
ln -sf dash "$root/bin/sh"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
cp "$archive" "$root/root/archive.tar.gz"
cat >"$root/root/job.sh" <<'JOB'
set -eu
cd /root
tar -xzf archive.tar.gz
cd meta-migration-*
install -m 755 meta-migration /usr/bin/meta-migration
meta-migration --version
for file in LICENSE THIRD-PARTY-NOTICES.txt README.md docs/choosing.md completions/_meta-migration man/meta-migration.1; do
    [ -s "$file" ] || { echo "the archive has no $file" >&2; exit 1; }
done
export ETCDCTL_API=3
etcdctl snapshot restore testdata/milvus-2.1.0/etcd-21.snap --data-dir /tmp/etcd 2>/tmp/restore.log || { cat /tmp/restore.log >&2; exit 1; }
etcd --data-dir /tmp/etcd --log-level error >/tmp/etcd.log 2>&1 &
etcd=$!
trap 'kill $etcd 2>/dev/null || true' EXIT
until etcdctl endpoint health >/tmp/health 2>&1; do
    kill -0 $etcd || { cat /tmp/etcd.log >&2; exit 1; }
    sleep 0.2
done
dump() { etcdctl get --prefix by-dev/meta/ --write-out=simple | sha256sum; }
before=$(dump)
export META_MIGRATION_SOURCE_VERSION=2.1.0 META_MIGRATION_TARGET_VERSION=2.2.16 META_MIGRATION_BACKUP_FILE=sample.bak
for step in status plan backup 'run --yes' 'verify --backup sample.bak' 'rollback --yes'; do
    echo "== meta-migration $step"
    # shellcheck disable=SC2086 # an option is a word of its own
    meta-migration $step >/tmp/said 2>&1 || { code=$?; cat /tmp/said; echo "ended with $code" >&2; exit 1; }
    tail -n 1 /tmp/said
done
[ "$(dump)" = "$before" ] || { echo "the metadata are not what they were" >&2; exit 1; }
echo "the metadata are byte for byte what they were"
JOB
say "a bare Debian root file system, $(du -sh "$root" | cut -f1), with $(basename "$archive")"
# A network of its own: the ports of etcd are free in it, whatever runs on this machine.
# shellcheck disable=SC2016 # the inner shell expands it
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root unshare --net --pid --fork --kill-child sh -c \
    'ip link set lo up && exec chroot "$0" /bin/sh /root/job.sh' "$root"
say "done"
