#!/bin/sh
# Makes the environment of the target `reference-services`. Called by `make services`, which sets VENV.
#
# Beside the other one and not in it: transformers imports what it finds installed, and the reference backend's memory would be
# another. What is in the other one is found there and not installed a second time.
set -eu

"$VENV/bin/python" -c "import sys; sys.exit(sys.version_info >= (3, 13))" || {
    echo "services: rapidocr-onnxruntime needs Python 3.11 or 3.12; make .venv with one: make setup PYTHON_FOR_VENV=python3.12" >&2
    exit 1
}
services=$VENV-services
"$VENV/bin/python" -m venv "$services"
packages() { "$1/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))"; }
packages "$VENV" >"$(packages "$services")/beside.pth"
requirements=$(mktemp -t oomproof-services-XXXXXX)
trap 'rm -f "$requirements"' EXIT
"$VENV/bin/python" -c "import tomllib; \
print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['services'], sep='\n')" >"$requirements"
pip() { "$services/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install -q -r "$requirements"
# The OCR library asks for the OpenCV that draws windows, which needs libraries of a desktop (libGL ...). As in the Dockerfile.
# Their files are the same ones: what was there of the other is gone with the first.
pip uninstall -q -y opencv-python
pip install -q --no-deps --force-reinstall opencv-python-headless
printf 'services: ready: %s\n' "$services"
