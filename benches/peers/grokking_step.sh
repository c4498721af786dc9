#!/bin/sh
# One training step of the grokking MLP: Kiln beside PyTorch on this machine. Options go to grokking_step.py.
#
#   PYTHON=/path/to/venv/bin/python ./grokking_step.sh [--print-only] [--rounds 6] [--threads 2] …
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
"$python" -c 'import torch' 2>/dev/null || {
    echo "grokking_step.sh: $python has no torch; install it (see README.md) or set PYTHON to one that has it" >&2
    exit 2
}
command -v g++ >/dev/null || {
    echo "grokking_step.sh: torch.compile needs a C++ compiler; install g++" >&2
    exit 2
}
# The build is over before the first clock starts, and the load it left behind is waited for.
target=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}
(cd ../.. && cargo build --release --quiet) || echo "grokking_step.sh: Kiln does not build; timing PyTorch alone" >&2
waited=0
while [ "$waited" -lt "${MAX_WAIT:-180}" ] && [ "$(awk '{ print ($1 > 0.3) }' /proc/loadavg 2>/dev/null || echo 0)" = 1 ]; do
    sleep 10
    waited=$((waited + 10))
done
exec "$python" grokking_step.py --kiln "$target/release/kiln" "$@"
