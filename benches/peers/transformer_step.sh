#!/bin/sh
# A transformer's training step and one encoder layer: Kiln beside PyTorch on this machine. Options go to transformer_step.py.
#
#   PYTHON=/path/to/venv/bin/python ./transformer_step.sh [--print-only] [--rounds 6] [--threads 2] …
set -eu
cd "$(dirname "$0")"
script=transformer_step.sh
. ./prepare.sh
exec "$python" transformer_step.py --kiln "$kiln" "$@"
