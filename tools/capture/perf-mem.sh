#!/bin/bash
# Samples loads and stores with their data addresses (PEBS, IBS), as text: perf-mem.sh OUT.txt PROGRAM [ARGUMENT...]
# PERIOD is the number of events between two samples; root adds physical addresses and the kernel's accesses.
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
out=$1
shift
data=$(mktemp)
trap 'rm -f "$data"' EXIT
options=(--data-page-size)
[[ $EUID -ne 0 ]] || options+=(--phys-data)
fields=comm,tid,cpu,time,event,addr,data_src,weight,ip,data_page_size
[[ $EUID -ne 0 ]] || fields+=,phys_addr
perf mem record "${options[@]}" -o "$data" -c "${PERIOD:-1000}" -- "$@"
perf script -i "$data" -F "$fields" >"$out.part"
mv "$out.part" "$out"
