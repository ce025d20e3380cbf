#!/bin/sh
# The evaluator's desk: every tool around the solver on a simulated evaluation and on an open case; seconds and memory of each.
#
#   cluster/scaling/desk.sh ANIMALS FOLDER [CASE.toml DATE_COLUMN CUT_OFF]
#
# CASE is a parameter file of real data with a column of dates, such as ../shared/data/gryphon_univariate/m4.toml byear
# 990. FOLDER must not be there yet; a million animals take some 5 GiB in it. What is printed stays in FOLDER.log, a
# line for each step in FOLDER.steps; the last line tells whether all did what they should.
set -eu
if [ $# -ne 2 ] && [ $# -ne 5 ]; then
    echo "usage: $0 ANIMALS FOLDER [CASE.toml DATE_COLUMN CUT_OFF]" >&2
    exit 2
fi
animals=$1 folder=$2 case=${3:-} column=${4:-} cut=${5:-}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
if [ -e "$folder" ]; then
    echo "$folder is there already" >&2
    exit 2
fi

# step CODES COMMAND ...: run and measure it; it has to end with one of the exit codes.
step() {
    codes=$1
    shift
    echo "== $*"
    code=0
    "$python" "$here/measure.py" "$@" >"$folder.step" 2>&1 || code=$?
    cat "$folder.step"
    echo "$(grep '^-- ' "$folder.step" | tail -n 1) exit $code: $*" >>"$folder.steps"
    case " $codes " in
    *" $code "*) ;;
    *)
        echo "exit code $code, not $codes"
        return 1
        ;;
    esac
}

# with MODEL NAME JOBS: write beside MODEL a copy of other jobs.
with() {
    sed '/^\[jobs\]/,$d' "$1" >"$(dirname "$1")/$2.toml"
    printf '%s\n' "$3" >>"$(dirname "$1")/$2.toml"
}

# damaged OUT: flip one byte of the solutions in a copy of results; verify has to name the file.
damaged() {
    rm -rf "$1.damaged"
    mkdir "$1.damaged"
    find "$1" -maxdepth 1 -type f -exec cp {} "$1.damaged" \;
    file=$(find "$1.damaged" -name 'solutions.*' -type f)
    "$python" - "$file" <<'PYTHON'
import sys

with open(sys.argv[1], "r+b") as file:
    file.seek(1000)
    byte = file.read(1)[0]
    file.seek(1000)
    file.write(bytes([byte ^ 1]))
PYTHON
    step 4 henderson verify "$1.damaged"
    grep -q solutions "$folder.step"
}

simulated() {
    step 0 henderson simulate --out "$folder" --animals "$animals" --traits 2 --missing 0.2
    model=$folder/model.toml
    with "$model" whole '
[checks]
range = { y1 = [20, 180] }
outliers = { y1 = 4 }
within = "herd"
collinear = 0.95

[validation]
date = "born"
cut_off = 2015

[index.merit]
weights = { u1 = 1.0, u2 = 0.5 }

[jobs]
run = ["solve"]
solve = { rtol = 1e-8 }'
    mv "$folder/whole.toml" "$model"
    step 0 henderson check "$model" --data --edits "$folder/edits.csv"
    step 0 henderson pedigree "$folder/pedigree.csv" --out "$folder/pedigree.out"
    step 0 henderson plan "$model" --nodes 1 --ranks-per-node 1 # from the files alone
    step 0 henderson ingest "$model" --store "$folder/store.zarr" --quiet
    step 0 henderson plan "$model" --nodes 1 --ranks-per-node 1 --store "$folder/store.zarr"
    out=$folder/out
    henderson solve "$model" --store "$folder/store.zarr" --out "$out" --quiet &
    running=$!
    while [ ! -e "$out/log.jsonl" ]; do sleep 0.2; done
    step 0 henderson watch "$out" # the solve: until it has ended
    wait $running
    step 0 henderson verify "$out"
    damaged "$out"
    step 0 henderson rerun "$out/run.json" --out "$folder/again"
    with "$model" accuracies '[jobs]
run = ["solve", "pev"]
solve = { rtol = 1e-8 }
pev = { method = "approximate", contributions = true }'
    step 0 henderson run "$folder/accuracies.toml" --store "$folder/store.zarr" --out "$folder/accuracies" --quiet
    step 0 henderson validate "$model" --out "$folder/validation"
    step 0 henderson compare "$folder/validation/partial" "$folder/validation/whole" --top 5
    step 0 henderson solve "$model" --store "$folder/store.zarr" --start "$folder/validation/partial" --out "$folder/warm" --quiet
    grep -q merit "$folder/accuracies/report.html"
    find "$folder" -name '*.html' | sort
}

real() {
    work=$folder/case
    step 0 henderson check "$case" --data
    step 0 henderson run "$case" --out "$work/out" --quiet
    step 0 henderson verify "$work/out"
    damaged "$work/out"
    step 0 henderson rerun "$work/out/run.json" --out "$work/again"
    step 0 henderson plan "$case" --nodes 1 --ranks-per-node 1 --store "$work/out/store.zarr"
    step 0 henderson validate "$case" --date-column "$column" --born "$column" --cut-off "$cut" --out "$work/validation"
    step 0 henderson compare "$work/validation/partial" "$work/validation/whole" --born "$column" --top 5
    find "$work" -name '*.html' | sort
}

mkdir -p "$(dirname "$folder")"
rm -f "$folder.steps"
{
    date -u
    uname -srm
    "$python" -c 'import henderson; print("henderson", henderson.__version__)'
    simulated
    if [ -n "$case" ]; then real; fi
    rm -f "$folder.step"
    echo "== seconds of each step"
    cat "$folder.steps"
    date -u
    echo "== done"
} 2>&1 | tee "$folder.log"
tail -n 1 "$folder.log" | grep -qx "== done"
