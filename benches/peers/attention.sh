#!/bin/sh
# Attention over the sequence length: Kiln beside PyTorch on this machine. Options go to attention.py.
#
#   PYTHON=/path/to/venv/bin/python ./attention.sh [--print-only] [--rounds 3] [--threads 2] …
set -eu
cd "$(dirname "$0")"
script=attention.sh
. ./prepare.sh
exec "$python" attention.py --kiln "$kiln" "$@"
