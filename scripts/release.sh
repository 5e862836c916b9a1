#!/usr/bin/env bash
# Builds what a release consists of into dist/: for each target the program with completions, man pages and licences as a .tar.gz,
# and a bill of materials (CycloneDX); the images as archives where buildah is there; migrate.sh; SHA256SUMS over all of it.
#
#   ./scripts/release.sh [--no-image] [TARGET…]
#
# TARGET: x86_64-unknown-linux-musl and aarch64-unknown-linux-musl by default, both linked statically with zig (from PyPI), so that they
# run on any Linux; on a Mac that machine's own. docs/releasing.md has the steps of a release.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TOOLS=$PWD/.tools/cargo
readonly ZIG=$PWD/.tools/zig
readonly DIST=dist

fail() {
    echo "release: $*" >&2
    exit 1
}

say() { echo "release: $*"; }

# The linker and C compiler for targets that are not this machine's. Versions are pinned: they are part of what is built.
install_zig() {
    [ -x "$ZIG/bin/cargo-zigbuild" ] || {
        say "installing zig and cargo-zigbuild into .tools (from PyPI)"
        python3 -m venv "$ZIG"
        "$ZIG/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1 cargo-zigbuild==0.24.1
    }
    export PATH=$ZIG/bin:$PATH
}

install_tools() {
    command -v protoc >/dev/null || fail "there is no protoc: run scripts/setup.sh"
    [ -x "$TOOLS/bin/cargo-auditable" ] || cargo install --quiet --locked --root "$TOOLS" cargo-auditable@0.7.7
    [ -x "$TOOLS/bin/cargo-cyclonedx" ] || cargo install --quiet --locked --root "$TOOLS" cargo-cyclonedx@0.5.9
    export PATH=$TOOLS/bin:$PATH
}

# What users see of the version must be the version.
check_version() {
    grep --quiet "^## $version\b" CHANGELOG.md || say "CHANGELOG.md has no section $version: fine for a trial, not for a release"
    local others
    others=$(grep --recursive --only-matching --no-filename --extended-regexp 'meta-migration:[0-9]+\.[0-9]+\.[0-9]+(-rc\.[0-9]+)?' deploy docs README.md |
        sort --unique | grep --invert-match --line-regexp "meta-migration:$version" || true)
    [ -z "$others" ] || fail "the version is $version, but deploy/, docs/ or README.md name ${others//$'\n'/, }"
}

# "Runs on any Linux" is a promise.
check_linkage() {
    case $1 in *-linux-musl) ;; *) return ;; esac
    local libraries
    libraries=$(readelf --dynamic --wide "$2" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    [ -z "$libraries" ] || fail "$2 is not static, it needs ${libraries//$'\n'/, }"
}

# The same commit gives the same bytes: sorted, without owners, with the time of the commit.
pack() {
    # A Mac's tar cannot do it, but GNU's is there by another name.
    "$(command -v gtar || echo tar)" --create --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw --mtime="@$SOURCE_DATE_EPOCH" \
        --directory "$1" "$2" | gzip --no-name --best >"$DIST/$2.tar.gz"
}

build() {
    local target=$1 build=build
    case $target in *-linux-musl)
        install_zig
        build=zigbuild
        ;;
    esac
    rustup target add "$target"
    # Paths of this machine do not belong into the program, nor may they make it another one.
    RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" META_MIGRATION_COMMIT=$commit \
        nice -n "${NICE:-5}" cargo auditable "$build" --release --locked --bin meta-migration --target "$target"
}

# Whether this machine can start a program for a target, and how: itself, or through QEMU.
starter_of() {
    local architecture=${1%%-*}
    if [ "$architecture" = "$(uname -m)" ] || [ "$architecture-$(uname -m)" = aarch64-arm64 ]; then
        starter=()
    elif command -v "qemu-$architecture-static" >/dev/null; then
        starter=("qemu-$architecture-static")
    else
        return 1
    fi
}

# The documents that the program writes are the same whatever it is built for.
write_documents() {
    mkdir -p "$1/completions" "$1/man"
    "$program" completions bash >"$1/completions/meta-migration.bash"
    "$program" completions zsh >"$1/completions/_meta-migration"
    "$program" completions fish >"$1/completions/meta-migration.fish"
    "$program" man --dir "$1/man" 2>/dev/null || "$program" man >"$1/man/meta-migration.1"
}

pack_program() {
    local target=$1 starter name=meta-migration-$version-$1
    local folder=$scratch/$name built=${CARGO_TARGET_DIR:-target}/$1/release/meta-migration
    check_linkage "$target" "$built"
    mkdir -p "$folder"
    install -m 755 "$built" "$folder/meta-migration"
    cp ./*.md LICENSE THIRD-PARTY-NOTICES.txt "$folder/"
    cp -r docs proto "$folder/"
    mkdir "$folder/deploy"
    cp -r deploy/compose deploy/manifests deploy/operator deploy/migrate.sh "$folder/deploy/"
    # What "Try it on sample data" in the README begins with.
    mkdir -p "$folder/testdata/milvus-2.1.0"
    cp testdata/milvus-2.1.0/etcd-21.snap "$folder/testdata/milvus-2.1.0/"
    local program=$built
    starter_of "$target" || program=$native
    [ -n "$program" ] || fail "nothing here can start a program for $target, to write its man pages: give this machine's target first"
    if starter_of "$target"; then
        [ "$("${starter[@]}" "$built" --version)" = "meta-migration $version (commit $short, $target)" ] ||
            fail "the program for $target says that it is $("${starter[@]}" "$built" --version)"
        say "$target: starts, and says what it is"
        [ ${#starter[@]} -gt 0 ] || native=$built
    else
        say "$target: built and packed, NOT STARTED: there is no qemu-${target%%-*}-static here"
    fi
    [ -z "$native" ] || program=$native
    write_documents "$folder"
    pack "$scratch" "$name"
}

list_materials() {
    cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$1" --override-filename bom
    mv bom.json "$DIST/meta-migration-$version-$1.cdx.json"
}

build_images() {
    if [ "$(id -u)" -ne 0 ] || ! command -v buildah >/dev/null; then
        say "no images: that needs root and buildah"
        return
    fi
    ./scripts/build-image.sh "$version"
    # shellcheck source=scripts/image/store.sh
    . scripts/image/store.sh
    local architecture
    architecture=$(dpkg --print-architecture)
    local variant
    for variant in "" -root; do
        local tag=${variant#-}
        tag=${tag:-latest}
        local archive=$DIST/meta-migration-$version$variant-image-$architecture.tar
        rm -f "$archive"
        buildah push --quiet "localhost/meta-migration:$tag" \
            "docker-archive:$archive:ghcr.io/meta-migration/meta-migration:$version$variant"
        gzip --no-name --best --force "$archive"
    done
}

images=yes
targets=()
for argument in "$@"; do
    case $argument in
        --no-image) images=no ;;
        -*) fail "there is no option $argument" ;;
        *) targets+=("$argument") ;;
    esac
done
if [ ${#targets[@]} -eq 0 ]; then
    case $(uname -s) in
        Darwin) targets=("$(rustc --print host-tuple)") ;;
        *) targets=("$(uname -m)-unknown-linux-musl") && for target in x86_64 aarch64; do
            [ "$target" = "$(uname -m)" ] || targets+=("$target-unknown-linux-musl")
        done ;;
    esac
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
commit=$(git rev-parse HEAD)
short=${commit:0:12}
if [ -n "$(git status --porcelain)" ]; then
    say "there are changes that are not committed: fine for a trial, not for a release"
    commit=$commit-dirty
    short=$short-dirty
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
check_version
./scripts/notices.py --check
install_tools
rm -rf "$DIST"
mkdir "$DIST"
# The program of this machine, once it is built; it writes the documents for all others.
native=
for target in "${targets[@]}"; do
    build "$target"
    pack_program "$target"
    list_materials "$target"
done
install -m 755 deploy/migrate.sh "$DIST/migrate.sh"
if [ "$images" = yes ]; then
    build_images
fi
(cd "$DIST" && sha256sum -- * >SHA256SUMS)
say "done:"
ls -l "$DIST"
