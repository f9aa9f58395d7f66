#!/bin/bash
# Records every access of a program with Valgrind's lackey, packed: lackey.sh OUT.zst PROGRAM [ARGUMENT...]
# The program's own output stays where it is. Virtual addresses only, one thread's view, 100 to 1000 times as slow.
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
out=$1
shift
exec 9> >(zstd -q -f -T0 -o "$out.part")
packer=$!
status=0
valgrind --tool=lackey --trace-mem=yes --log-fd=9 "$@" || status=$?
exec 9>&-
wait "$packer"
mv "$out.part" "$out"
exit "$status"
