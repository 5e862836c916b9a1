#!/usr/bin/env bash
# Signs with cosign, by the identity of the workflow that runs it (GitHub's OIDC): there is no key. Not tried outside of it.
#
#   sign.sh FILE|IMAGE@sha256:DIGEST…     FILE gets FILE.sigstore.json beside it; an image's signature goes to its registry
set -euo pipefail

for what in "$@"; do
    if [ -f "$what" ]; then
        cosign sign-blob --yes --bundle "$what.sigstore.json" "$what"
    else
        cosign sign --yes --recursive "$what"
    fi
done
