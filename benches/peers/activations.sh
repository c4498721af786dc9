#!/bin/sh
# Maps and pointwise functions: Kiln beside PyTorch, JAX and entmax on this machine. Options go to activations.py.
#
#   PYTHON=/path/to/venv/bin/python ./activations.sh [--print-only] [--rounds 5] [--threads 2] [NAME …]
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
"$python" -c 'import torch' 2>/dev/null || {
    echo "activations.sh: $python has no torch; install it (see README.md) or set PYTHON to one that has it" >&2
    exit 2
}
command -v g++ >/dev/null || {
    echo "activations.sh: torch.compile needs a C++ compiler; install g++" >&2
    exit 2
}
# The build is over before the first clock starts, and the load it left behind is waited for.
target=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}
(cd ../.. && cargo build --release --quiet) || {
    echo "activations.sh: Kiln does not build" >&2
    exit 1
}
waited=0
while [ "$waited" -lt "${MAX_WAIT:-180}" ] && [ "$(awk '{ print ($1 > 0.3) }' /proc/loadavg 2>/dev/null || echo 0)" = 1 ]; do
    sleep 10
    waited=$((waited + 10))
done
exec "$python" activations.py --kiln "$target/release/kiln" "$@"
