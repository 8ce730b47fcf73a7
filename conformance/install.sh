#!/bin/sh
# Installs the clients under test, exactly as node/package.json and clients.txt pin them. PYTHON makes the virtual
# environment of the latter.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
clients=$here/../.clients
[ -x "$clients/bin/python" ] || "${PYTHON:-python3}" -m venv "$clients"
"$clients/bin/python" -m pip install --quiet --quiet --disable-pip-version-check -r "$here/clients.txt"
exec npm install --prefix "$here/node" --no-audit --no-fund --no-package-lock
