#!/bin/sh
# Makes the environment of the target `reference-services`. Called by `make services`, which sets VENV.
#
# Beside the other one and not in it: transformers imports what it finds installed, and the reference backend's memory would be
# another. What is in the other one is found there and not installed a second time.
set -eu

services=$VENV-services
"$VENV/bin/python" -m venv "$services"
packages() { "$1/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))"; }
packages "$VENV" >"$(packages "$services")/beside.pth"
requirements=$(mktemp -t oomproof-services-XXXXXX)
trap 'rm -f "$requirements"' EXIT
"$VENV/bin/python" -c "import tomllib; \
print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['services'], sep='\n')" >"$requirements"
"$services/bin/python" -m pip --disable-pip-version-check install -q -r "$requirements"
printf 'services: ready: %s\n' "$services"
