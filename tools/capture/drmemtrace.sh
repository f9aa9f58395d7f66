#!/bin/bash
# Records a program with DynamoRIO's drmemtrace, all threads: drmemtrace.sh DIR PROGRAM [ARGUMENT...]
# DYNAMORIO is the folder of a release. PHYSICAL=1 adds physical addresses, which needs root.
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
: "${DYNAMORIO:?the folder of a DynamoRIO release}"
out=$1
shift
mkdir -p "$out"
options=(-offline -outdir "$out")
[[ -z ${PHYSICAL:-} ]] || options+=(-use_physical)
"$DYNAMORIO/bin64/drrun" -t drmemtrace "${options[@]}" -- "$@"
# The raw files of each run become traces of threads, compressed and readable without the program's binaries.
for run in "$out"/drmemtrace.*.dir; do
    [[ -d $run/trace ]] || "$DYNAMORIO/tools/bin64/drraw2trace" -indir "$run"
    echo "nodewalk convert $run/trace -o trace.arrow" >&2
done
