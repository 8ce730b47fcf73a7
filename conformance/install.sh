#!/bin/sh
# Installs the clients under test, exactly as node/package.json pins them.
set -eu
exec npm install --prefix "$(dirname "$0")/node" --no-audit --no-fund --no-package-lock
