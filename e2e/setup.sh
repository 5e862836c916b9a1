#!/usr/bin/env bash
# Gets what the end-to-end test needs into .tools/ (git-ignored), from PyPI: etcd 3.5, Milvus 2.1.0 and the versions
# given, and a virtual environment with the client of each. What is there already stays.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly OLD=2.1.0
# pymilvus asks for old packages that have no wheels for Python 3.11, and building those takes a quarter of an hour:
# these work as well.
readonly PACKAGES=('protobuf<5' 'ujson<=5.7' 'pandas<2.1' 'numpy<2' 'setuptools<70' 'marshmallow<4' 'minio<8')
readonly OLD_PACKAGES=('grpcio==1.49.1' 'protobuf==3.20.3' 'ujson<=5.7' 'mmh3==3.1.0' 'pandas<2.1' 'numpy<2')
# Up to 2.2.8.
readonly EARLY_PACKAGES=('grpcio==1.53.0' 'protobuf==3.20.3' 'ujson<=5.7' 'mmh3==3.1.0' 'pandas==2.0.3' 'numpy<2'
    'setuptools<70' 'marshmallow<3.20' 'environs<9.6')

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { echo "e2e: $*"; }

fail() {
    echo "e2e: $*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in python3.11 /usr/bin/python3.11 "$HOME"/.pyenv/versions/3.11.*/bin/python3; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

install_debian_packages() {
    say "installing $*"
    apt-get install -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get install -qq --no-install-recommends "$@" >/dev/null; } ||
        fail "cannot install $*: install them by other means, then run this again"
}

install_client() {
    local version folder
    version=$("$python" e2e/versions.py "$1") || fail "no client is known for Milvus $1"
    folder=.tools/pymilvus-$version
    if "$folder/bin/python" -c 'import pymilvus' 2>/dev/null; then
        return
    fi
    say "installing pymilvus $version into $folder"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    local pip=("$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all:)
    case "$version" in
        2.1.*)
            "${pip[@]}" "${OLD_PACKAGES[@]}"
            "${pip[@]}" --no-deps "pymilvus==$version"
            ;;
        2.2.[0-8])
            "${pip[@]}" "${EARLY_PACKAGES[@]}"
            "${pip[@]}" --no-deps "pymilvus==$version"
            ;;
        *) "${pip[@]}" "pymilvus==$version" "${PACKAGES[@]}" ;;
    esac
    "$folder/bin/python" -c 'import pymilvus' || fail "pymilvus $version cannot be imported"
}

# Unpacks a wheel into the folder that is named second.
wheel() {
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$scratch" "$1" ||
        fail "cannot download $1 (there are wheels for x86_64 Linux only)"
    mkdir -p "$2"
    "$python" -m zipfile -e "$scratch/${1%%==*}-${1##*==}"-*.whl "$2"
}

install_newer() {
    local version=$1 folder=.tools/milvus-$1 wheel_folder
    if [ -e "$folder/complete" ]; then
        return
    fi
    say "installing Milvus $version into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    wheel_folder=$scratch/unpacked-$version
    wheel "milvus==$version" "$wheel_folder"
    mv "$wheel_folder"/milvus/data/* "$folder"
    "$python" - "$folder/bin" <<'PYTHON'
import lzma, pathlib, sys
for packed in pathlib.Path(sys.argv[1]).glob("*.lzma"):
    unpacked = packed.with_suffix("")
    unpacked.write_bytes(lzma.decompress(packed.read_bytes()))
    unpacked.chmod(0o755)
    packed.unlink()
PYTHON
    touch "$folder/complete"
}

# 2.1.0 is a library without the libraries that it needs itself: those are in 2.2.16's wheel.
install_old() {
    local folder=.tools/milvus-$OLD wheel_folder=$scratch/unpacked-$OLD
    if [ -e "$folder/complete" ]; then
        return
    fi
    install_newer 2.2.16
    say "installing Milvus $OLD into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    wheel "milvus==$OLD" "$wheel_folder"
    mv "$wheel_folder"/milvus-$OLD.data/purelib/milvus/{bin,lib,configs} "$folder"
    rm -f "$folder"/lib/*.a "$folder"/lib/*.la
    cp .tools/milvus-2.2.16/bin/{libopenblas.so.0,libgfortran.so.4,libquadmath.so.0} "$folder/lib"
    cp .tools/milvus-2.2.16/bin/libtbb.so "$folder/lib/libtbb.so.2"
    touch "$folder/complete"
}

command -v ip >/dev/null || install_debian_packages iproute2
# Needed by the old clients; where it is not the distribution's own version, it has to be there already.
find_python >/dev/null || install_debian_packages python3.11 python3.11-venv
python=$(find_python) || fail "there is no Python 3.11 with venv"
[ -x .tools/etcd-3.5/etcd ] || ./scripts/setup.sh
install_old
install_client "$OLD"
for version in "$@"; do
    install_newer "$version"
    install_client "$version"
done
