#!/bin/sh
# The test-day evaluation in full: simulate, ingest, solve, compare with the truth; seconds and memory of each,
# what STREAM gives before and after the solve, and the solve's own log: stages, residuals by round.
#
#   cluster/scaling/testday.sh SCALE FOLDER [option of `henderson solve` ...]
#
# SCALE 1 is 90 M test days and some 230 M equations: 3 GiB of data and store, 10 GiB of solutions at most, beside 6 GiB
# while the store grows. FOLDER must not be there yet; what is printed stays in FOLDER.log.
set -eu
if [ $# -lt 2 ]; then
    echo "usage: $0 SCALE FOLDER [option of henderson solve ...]" >&2
    exit 2
fi
scale=$1 folder=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
step() {
    echo "== $*"
    "$python" "$here/measure.py" "$@"
}
{
    date -u
    uname -srm
    "$python" -c 'import henderson; print("henderson", henderson.__version__)'
    git -C "$here" log -1 --format="commit %h, %ad" 2>&1 || true
    step henderson simulate testday --scale "$scale" --format parquet --out "$folder"
    cat "$folder/truth.json"
    step henderson ingest "$folder/model.toml" --store "$folder/store.zarr" --quiet
    du -sk "$folder/records.parquet" "$folder/store.zarr"
    "$python" "$here/../../tests/benchmarks/stream.py"
    step henderson solve "$folder/model.toml" --store "$folder/store.zarr" --out "$folder/out" --quiet "$@"
    "$python" "$here/../../tests/benchmarks/stream.py"
    "$python" -c "import json; print(*map(json.dumps, json.load(open('$folder/out/run.json'))['jobs'][0]['stages']), sep='\n')"
    cat "$folder/out/log.jsonl"
    step "$python" "$here/testday_accuracy.py" "$folder" "$folder/out"
    date -u
    echo "== done"
} 2>&1 | tee "$folder.log"
tail -n 1 "$folder.log" | grep -qx "== done"
