#!/usr/bin/env bash
# Writes the migrate.sh of a release: the one of deploy/, with the image by its digest, so that it is this very image for ever.
#
#   pin.sh IMAGE@sha256:DIGEST FILE
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly IMAGE=$1
readonly FILE=$2
readonly LINE='^readonly DEFAULT_TOOL_IMAGE=ghcr\.io/meta-migration/meta-migration:.*'

[[ $IMAGE =~ ^[a-z0-9./:-]+@sha256:[0-9a-f]{64}$ ]] || {
    echo "pin: $IMAGE is not IMAGE@sha256:DIGEST" >&2
    exit 1
}
[ "$(grep --count "$LINE" deploy/migrate.sh)" -eq 1 ] || {
    echo "pin: deploy/migrate.sh has not one line that begins with readonly DEFAULT_TOOL_IMAGE=ghcr.io/…: correct LINE in this script" >&2
    exit 1
}
# Help and default, wherever the name stands.
sed -E "s#ghcr\.io/meta-migration/meta-migration:[0-9][0-9a-z.-]*#$IMAGE#g" deploy/migrate.sh >"$FILE"
chmod 755 "$FILE"
bash -n "$FILE"
grep --quiet "^readonly DEFAULT_TOOL_IMAGE=$IMAGE\$" "$FILE"
echo "pin: $FILE uses $IMAGE"
