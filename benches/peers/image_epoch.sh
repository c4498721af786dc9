#!/bin/sh
# An epoch of two convolutional networks: Kiln beside PyTorch on this machine. Options go to image_epoch.py.
#
#   PYTHON=/path/to/venv/bin/python ./image_epoch.sh [--print-only] [--rounds 3] [--threads 2]
set -eu
cd "$(dirname "$0")"
script=image_epoch.sh
. ./prepare.sh
exec "$python" image_epoch.py --kiln "$kiln" "$@"
