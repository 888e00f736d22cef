#!/usr/bin/env bash
# Everything that needs a GPU, in one run of under ten minutes: build, tests on the device, compute-sanitizer, accuracy,
# timings. Needs CUDA's compiler, PyTorch and the build tools of pyproject.toml; no network: what pyproject.toml names and the
# machine lacks is taken from build/wheels (pip download --no-deps --dest build/wheels array-api-compat).
#   bench/gpu.sh [FOLDER]            results into FOLDER (default: $OUT, else build/gpu)
#   bench/gpu.sh --dry-run [FOLDER]  the same steps on the emulator, to see that they run
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dry=()
if [ "${1:-}" = --dry-run ]; then
    dry=(--dry-run)
    shift
fi
out=$(realpath -m "${1:-${OUT:-build/gpu}}")
mkdir -p "$out"
python=${PYTHON:-python3}
site=$PWD/build/gpu-site
failed=0

step() { # NAME LIMIT COMMAND...: one line of the summary each; a step that fails stops none after it
    local name=$1 limit=$2 began=$SECONDS code=0
    shift 2
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    printf '%-12s %4d s  exit %d\n' "$name" $((SECONDS - began)) $code | tee -a "$out/summary.txt"
    [ $code -eq 0 ] || { tail -n 15 "$out/$name.log"; failed=1; }
}
: >"$out/summary.txt"

if [ ${#dry[@]} -eq 0 ]; then
    nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.max.sm --format=csv,noheader | tee -a "$out/summary.txt"
    native=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
    [ "$native" = 90 ] && native=90a
    # for this GPU alone, which builds in a minute
    export CMAKE_ARGS="-DGRAMIAN_CUDA=ON -DGRAMIAN_CUDA_ARCHITECTURES=$native-real -DGRAMIAN_CUDA_ALL_ARCHITECTURES=$native-real"
    step build 240 "$python" -m pip install --quiet --no-build-isolation --no-deps --no-index --upgrade --target "$site" .
    [ ! -d build/wheels ] || step wheels 60 "$python" -m pip install --quiet --no-index --no-deps --upgrade --target "$site" build/wheels/*.whl
    export PYTHONPATH=$site:$PWD XLA_PYTHON_CLIENT_PREALLOCATE=false # else JAX takes three quarters of the memory
    step bits 60 "$python" -m bench.gpu --step accuracy --step bits --out "$out/accuracy.jsonl"
    step speed 240 "$python" -m bench.gpu --step speed --step layers --step neighbors --step million --out "$out/speed.jsonl"
    # the installed libraries need not be those that the tests were written with: their warnings are none of ours
    step tests 150 "$python" -m pytest -q -m cuda -p no:cacheprovider -W default tests/test_cuda_arrays.py tests/test_cuda_measures.py
    for tool in memcheck racecheck synccheck; do
        step "$tool" 120 compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" -m bench.gpu --step small --out "$out/$tool.jsonl"
    done
else
    step small 300 "$python" -m bench.gpu "${dry[@]}" --step small --out "$out/small.jsonl"
    step all 300 "$python" -m bench.gpu "${dry[@]}" --out "$out/all.jsonl"
fi
exit $failed
