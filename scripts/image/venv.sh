#!/usr/bin/env bash
# Makes a Python environment with what the checks of deploy/ need, unless it is there.
#
#   venv.sh FOLDER
set -euo pipefail

readonly FOLDER=$1
readonly PACKAGES=(PyYAML==6.0.3 kubernetes-validate==1.37.0)

if [ "$(cat "$FOLDER/packages" 2>/dev/null)" = "${PACKAGES[*]}" ]; then
    exit 0
fi
echo "image: making a Python environment with ${PACKAGES[*]}"
rm -rf "$FOLDER"
if ! python3 -c 'import ensurepip' 2>/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
fi
python3 -m venv "$FOLDER"
"$FOLDER/bin/pip" install --quiet --disable-pip-version-check "${PACKAGES[@]}"
echo "${PACKAGES[*]}" >"$FOLDER/packages"
