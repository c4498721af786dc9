#!/bin/sh
# Maps and pointwise functions: Kiln beside PyTorch, JAX and entmax on this machine. Options go to activations.py.
#
#   PYTHON=/path/to/venv/bin/python ./activations.sh [--print-only] [--rounds 5] [--threads 2] [NAME …]
set -eu
cd "$(dirname "$0")"
script=activations.sh
. ./prepare.sh
exec "$python" activations.py --kiln "$kiln" "$@"
