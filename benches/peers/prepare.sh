# Sourced by the .sh files beside it, with the name of the script in $script: finds Python with torch in $python, builds Kiln
# as $kiln, and waits (at most MAX_WAIT seconds, 180) until the load that the build left behind is gone.
python=${PYTHON:-python3}
"$python" -c 'import torch' 2>/dev/null || {
    echo "$script: $python has no torch; install it (see README.md) or set PYTHON to one that has it" >&2
    exit 2
}
command -v g++ >/dev/null || {
    echo "$script: torch.compile needs a C++ compiler; install g++" >&2
    exit 2
}
kiln=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}/release/kiln
(cd ../.. && cargo build --release --quiet) || {
    echo "$script: Kiln does not build" >&2
    exit 1
}
waited=0
while [ "$waited" -lt "${MAX_WAIT:-180}" ] && [ "$(awk '{ print ($1 > 0.3) }' /proc/loadavg 2>/dev/null || echo 0)" = 1 ]; do
    sleep 10
    waited=$((waited + 10))
done
