#!/usr/bin/env bash
# Step times and Fashion-MNIST on one GPU, in a few minutes, with JAX; for a machine
# with no network, no Keras and no TensorFlow.
#
#   benchmarks/gpu.sh --wheels=DIR --fetch       where there is a network: downloads
#                                                what the other machine lacks into DIR
#   benchmarks/gpu.sh --wheels=DIR --data=IDX --output=OUT [--minutes=8]
#   benchmarks/gpu.sh --quick --device=cpu --data=IDX --output=OUT
#
# IDX: folder of the four files of Fashion-MNIST. OUT gets results.json, events.jsonl
# (every number as it comes) and workers.log. PYTHON names the interpreter. All other
# arguments go to benchmarks/gpu.py (--help lists them).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
wheels= fetch= arguments=()
for argument in "$@"; do
  case $argument in
    --wheels=*) wheels=${argument#*=} ;;
    --fetch) fetch=1 ;;
    *) arguments+=("$argument") ;;
  esac
done

if [ -n "$fetch" ]; then
  [ -n "$wheels" ] || { echo "--fetch needs --wheels=DIR" >&2; exit 2; }
  exec "$python" -m pip download --no-deps --only-binary=:all: \
    --python-version "${PYTHON_VERSION:-3.12}" --implementation cp \
    --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 --platform any \
    --dest "$wheels" "keras>=3.15.1,<3.16" namex optree
fi

path=$root
if [ -n "$wheels" ]; then
  installed=$(mktemp -d)
  trap 'rm -rf "$installed"' EXIT
  "$python" -m pip install --quiet --no-index --no-deps --no-warn-script-location \
    --disable-pip-version-check --target "$installed" "$wheels"/*.whl
  path=$installed:$root
fi
# One process would take most of the memory of the GPU otherwise.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
export KERAS_BACKEND=jax PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH}
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-3}
"$python" "$root/benchmarks/gpu.py" "${arguments[@]}"
