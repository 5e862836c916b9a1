#!/usr/bin/env bash
# Writes THIRD-PARTY-NOTICES.txt: every library that is in the program, with its licence (cargo-about, about.toml, about.hbs).
#
#   ./scripts/notices.sh            write it
#   ./scripts/notices.sh --check    fail if it is not what would be written
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VERSION=0.9.3
readonly TOOLS=$PWD/.tools/cargo
readonly FILE=THIRD-PARTY-NOTICES.txt

[ -x "$TOOLS/bin/cargo-about" ] || {
    echo "notices: installing cargo-about $VERSION into .tools"
    cargo install --quiet --locked --root "$TOOLS" --version "$VERSION" --features cli cargo-about
}
written=$(mktemp)
trap 'rm -f "$written"' EXIT
"$TOOLS/bin/cargo-about" about generate --locked --fail --output-file "$written" about.hbs
if [ "${1:-}" = --check ]; then
    cmp --silent "$written" "$FILE" || {
        echo "notices: $FILE is not what the dependencies ask for: run scripts/notices.sh" >&2
        exit 1
    }
    echo "notices: $FILE is as it should be"
else
    install -m 644 "$written" "$FILE"
    echo "notices: $FILE is written, $(grep --count '^  [a-z]' "$FILE") lines of libraries"
fi
