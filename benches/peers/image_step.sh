#!/bin/sh
# The training steps of two convolutional networks: Kiln beside PyTorch on this machine. Options go to image_step.py.
#
#   PYTHON=/path/to/venv/bin/python ./image_step.sh [--print-only] [--rounds 6] [--threads 2] …
set -eu
cd "$(dirname "$0")"
script=image_step.sh
. ./prepare.sh
exec "$python" image_step.py --kiln "$kiln" "$@"
