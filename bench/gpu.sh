#!/usr/bin/env bash
# Everything that needs a GPU, in one run of under ten minutes: build, accuracy, timings, compute-sanitizer, tests on the
# device, and last a verdict: what was promised, what was measured, PASS, FAIL or MISSING. Needs CUDA's
# compiler, PyTorch and the build tools of pyproject.toml; no network: what pyproject.toml names and the
# machine lacks is taken from build/wheels (pip download --no-deps --dest build/wheels array-api-compat).
#   bench/gpu.sh [FOLDER]            results into FOLDER (default: $OUT, else build/gpu)
#   bench/gpu.sh --dry-run [FOLDER]  the same steps on the emulator, to see that they run
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dry=()
deadline=590
if [ "${1:-}" = --dry-run ]; then
    dry=(--dry-run)
    deadline=3600
    shift
fi
out=$(realpath -m "${1:-${OUT:-build/gpu}}")
mkdir -p "$out"
rm -f "$out"/*.jsonl "$out"/*.log # of an earlier run: the verdict reads what lies here
python=${PYTHON:-python3}
site=$PWD/build/gpu-site
failed=0

step() { # NAME LIMIT COMMAND...: one line of the summary each; a step that fails stops none after it
    local name=$1 limit=$2 began=$SECONDS code=0
    shift 2
    [ $((deadline - SECONDS)) -ge "$limit" ] || limit=$((deadline - SECONDS))
    if [ "$limit" -gt 0 ]; then
        timeout --kill-after 5 "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    else
        code=124 # no time is left for it
    fi
    printf '%-12s %4d s  exit %d\n' "$name" $((SECONDS - began)) $code | tee -a "$out/summary.txt"
    printf '{"step": "exit", "name": "%s", "code": %d, "seconds": %d}\n' "$name" $code $((SECONDS - began)) >>"$out/steps.jsonl"
    [ $code -eq 0 ] || { tail -n 15 "$out/$name.log"; failed=1; }
}
: >"$out/summary.txt"

if [ ${#dry[@]} -eq 0 ]; then
    nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.max.sm --format=csv,noheader | tee -a "$out/summary.txt"
    native=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
    [ "$native" = 90 ] && native=90a
    # for this GPU and for the kernels of an older one, which GRAMIAN_CUDA_CAPABILITY asks for; builds in a minute
    export CMAKE_ARGS="-DGRAMIAN_CUDA=ON -DGRAMIAN_CUDA_ARCHITECTURES=$native-real -DGRAMIAN_CUDA_ALL_ARCHITECTURES=$native-real"
    # the limits of all steps but the tests make eight minutes together, and the deadline ends the tests
    step build 120 "$python" -m pip install --quiet --no-build-isolation --no-deps --no-index --upgrade --target "$site" .
    [ ! -d build/wheels ] || step wheels 10 "$python" -m pip install --quiet --no-index --no-deps --upgrade --target "$site" build/wheels/*.whl
    export PYTHONPATH=$site:$PWD XLA_PYTHON_CLIENT_PREALLOCATE=false # else JAX takes three quarters of the memory
    step bits 45 "$python" -m bench.gpu --step accuracy --step bits --out "$out/accuracy.jsonl"
    step speed 170 "$python" -m bench.gpu --step speed --step million --step layers --step neighbors --out "$out/speed.jsonl"
    for tool in memcheck racecheck synccheck; do
        # of gramian's kernels alone: what torch's do, and what calls torch and the driver try in vain, is theirs
        step "$tool" 45 compute-sanitizer --tool "$tool" --kernel-name kns=gramian --report-api-errors no --error-exitcode 9 \
            "$python" -m bench.gpu --step small --out "$out/$tool.jsonl"
    done
    workers=()
    "$python" -c 'import xdist' 2>/dev/null && workers=(-n 4)
    # thousands of tests: last, with what time the others have left. The installed libraries need not be those that
    # the tests were written with: their warnings are none of ours
    step tests 300 "$python" -m pytest -q -m cuda -p no:cacheprovider -W default "${workers[@]}" tests
    "$python" -m bench.gpu_verdict "$out" | tee -a "$out/summary.txt" || failed=1
else
    step small 1200 "$python" -m bench.gpu "${dry[@]}" --step small --out "$out/small.jsonl"
    step all 2400 "$python" -m bench.gpu "${dry[@]}" --out "$out/all.jsonl"
    "$python" -m bench.gpu_verdict "$out" >"$out/verdict.log" # nothing that a dry run promises: only that it can be read
fi
exit $failed
