#!/usr/bin/env bash
# Builds what a release consists of into dist/: the program with completions and man pages as a .tar.gz, a bill of
# materials (CycloneDX), the images as archives where buildah is there, and SHA256SUMS over all of it.
#
#   ./scripts/release.sh [--no-image]
#
# The program is statically linked where Rust's musl target and musl-gcc are there; else it is linked against glibc, and
# this script makes sure that MINIMUM_GLIBC is new enough for it. docs/releasing.md has the steps of a release.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Debian 12, Ubuntu 22.04, RHEL 9 and everything newer.
readonly MINIMUM_GLIBC=2.34
readonly TOOLS=$PWD/.tools/cargo
readonly DIST=dist

fail() {
    echo "release: $*" >&2
    exit 1
}

say() { echo "release: $*"; }

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
    others=$(grep --recursive --only-matching --no-filename --extended-regexp 'meta-migration:[0-9]+\.[0-9]+\.[0-9]+' deploy docs README.md |
        sort --unique | grep --invert-match --line-regexp "meta-migration:$version" || true)
    [ -z "$others" ] || fail "the version is $version, but deploy/ or docs/ name ${others//$'\n'/, }"
}

choose_target() {
    local architecture
    architecture=$(rustc --print host-tuple | cut -d- -f1)
    target=$architecture-unknown-linux-gnu
    if command -v musl-gcc >/dev/null && [ -d "$(rustc --print sysroot)/lib/rustlib/$architecture-unknown-linux-musl" ]; then
        target=$architecture-unknown-linux-musl
    fi
}

# An old machine must not find out by "version `GLIBC_2.38' not found".
check_linkage() {
    local libraries newest
    libraries=$(readelf --dynamic --wide "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    if [ -z "$libraries" ]; then
        say "statically linked: runs on any Linux"
        return
    fi
    libraries=$(grep --invert-match --extended-regexp '^(libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|ld-linux-.*)$' <<<"$libraries" || true)
    [ -z "$libraries" ] || fail "$1 needs libraries that not every machine has: $libraries"
    newest=$(objdump --dynamic-syms "$1" | grep --only-matching 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort --version-sort --unique | tail -1)
    [ "$(printf '%s\n' "$newest" "$MINIMUM_GLIBC" | sort --version-sort | tail -1)" = "$MINIMUM_GLIBC" ] ||
        fail "$1 needs glibc $newest, but $MINIMUM_GLIBC is promised: build on an older system, or change the promise here and in docs/releasing.md"
    say "needs glibc $newest, promised is $MINIMUM_GLIBC"
}

# The same commit gives the same bytes: sorted, without owners, with the time of the commit.
pack() {
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw --mtime="@$SOURCE_DATE_EPOCH" \
        --directory "$1" "$2" | gzip --no-name --best >"$DIST/$2.tar.gz"
}

build_program() {
    # Paths of this machine do not belong into the program, nor may they make it another one.
    RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" \
        nice -n 5 cargo auditable build --release --locked --bin meta-migration --target "$target"
    local program=${CARGO_TARGET_DIR:-target}/$target/release/meta-migration
    check_linkage "$program"
    local name=meta-migration-$version-$target
    local folder=$scratch/$name
    mkdir -p "$folder/completions"
    install -m 755 "$program" "$folder/meta-migration"
    "$program" man >"$folder/meta-migration.1"
    "$program" completions bash >"$folder/completions/meta-migration.bash"
    "$program" completions zsh >"$folder/completions/_meta-migration"
    "$program" completions fish >"$folder/completions/meta-migration.fish"
    cp README.md CHANGELOG.md "$folder/"
    cp -r docs "$folder/docs"
    if [ -f LICENSE ]; then
        cp LICENSE "$folder/"
    fi
    pack "$scratch" "$name"
    # As a user has it.
    mkdir "$scratch/unpacked"
    tar --extract --gzip --file "$DIST/$name.tar.gz" --directory "$scratch/unpacked"
    [ "$("$scratch/unpacked/$name/meta-migration" --version)" = "meta-migration $version" ] ||
        fail "the packed program is not version $version"
}

list_materials() {
    cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename bom
    mv bom.json "$DIST/meta-migration-$version-$target.cdx.json"
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
            "docker-archive:$archive:meta-migration:$version$variant"
        gzip --no-name --best --force "$archive"
    done
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
[ -z "$(git status --porcelain)" ] || say "there are changes that are not committed: fine for a trial, not for a release"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
check_version
install_tools
choose_target
rm -rf "$DIST"
mkdir "$DIST"
build_program
list_materials
if [ "${1:-}" != --no-image ]; then
    build_images
fi
(cd "$DIST" && sha256sum -- * >SHA256SUMS)
say "done:"
ls -l "$DIST"
