#!/bin/bash
# Samples loads and stores with Arm's SPE, as perf.data: spe.sh OUT.data PROGRAM [ARGUMENT...]
# PERIOD is the number of operations between two samples. Root records the kernel, too, and physical addresses.
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
out=$1
shift
[[ -d /sys/bus/event_source/devices/arm_spe_0 ]] || {
    echo "$0: no arm_spe_0 here: it needs a CPU with SPE, the module arm_spe_pmu and, with KPTI, the boot option kpti=off" >&2
    exit 1
}
event=arm_spe_0/ts_enable=1,load_filter=1,store_filter=1,jitter=1,min_latency=0
[[ $EUID -ne 0 ]] || event+=,pa_enable=1
modifier=u
[[ $EUID -ne 0 ]] || modifier=uk
perf record -e "$event/$modifier" -c "${PERIOD:-1024}" -o "$out.part" -- "$@"
mv "$out.part" "$out"
