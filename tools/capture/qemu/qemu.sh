#!/bin/bash
# Captures init.c on a kernel, on a machine of 4 CPUs and 2 nodes of 512 MiB, into DIR/trace.raw24.zst:
#   qemu.sh x86-64 /boot/vmlinuz-VERSION DIR     or     qemu.sh arm64 Image DIR
# Needs libnodewalk.so (make QEMU_PLUGIN_HEADER=...), QEMU, cpio, zstd; for another architecture CC=aarch64-linux-gnu-gcc.
# QEMU_CPU and QEMU_THREAD (single, multi) count for more than what docs/capture.md recommends.
# Boots twice: the first time without the plugin, to learn where the parts of the kernel's image lie.
set -euo pipefail
[[ $# -eq 3 ]] || { sed -n '2,7s/^# //p' "$0" >&2; exit 2; }
arch=$1 kernel=$2 dir=$3
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$dir"
work=$(mktemp -d)
packer=
# When QEMU never opens the pipe, its reader waits for ever.
trap 'rm -rf "$work"; [[ -z $packer ]] || { kill "$packer"; rm -f "$dir/trace.raw24"; }' EXIT

case $arch in
x86-64)
    # Without ERMS the kernel clears pages with words, not with 4096 stores of a byte.
    qemu=(qemu-system-x86_64 -machine pc -cpu "${QEMU_CPU:-max,erms=off}")
    console=ttyS0 memory=0 second=512M
    ;;
arm64)
    qemu=(qemu-system-aarch64 -machine 'virt,gic-version=3' -cpu "${QEMU_CPU:-neoverse-n1}")
    console=ttyAMA0 memory=1G second=1536M
    ;;
*)
    echo "$0: expected x86-64 or arm64, found $arch" >&2
    exit 2
    ;;
esac

"${CC:-gcc}" -O2 -static -o "$work/init" "$here/init.c"
mkdir "$work/root"
mv "$work/init" "$work/root/init"
(cd "$work/root" && find . | cpio -o -H newc --quiet) >"$work/initramfs"

# One thread gives one order of all CPUs, but from 9 on QEMU may then name the wrong CPU.
version=$("${qemu[0]}" --version | sed -n 's/.*version \([0-9]*\)\..*/\1/p')
thread=${QEMU_THREAD:-$([[ $version -lt 9 ]] && echo single || echo multi)}

# Writes what the guest prints to stdout; arguments go to QEMU.
boot() {
    "${qemu[@]}" -kernel "$kernel" -initrd "$work/initramfs" -nographic -no-reboot -net none \
        -smp 4 -m 1G -accel "tcg,thread=$thread" \
        -object memory-backend-ram,id=m0,size=512M -numa node,nodeid=0,cpus=0-1,memdev=m0 \
        -object memory-backend-ram,id=m1,size=512M -numa node,nodeid=1,cpus=2-3,memdev=m1 \
        -append "console=$console quiet panic=-1 nokaslr norandmaps no5lvl rdinit=/init" "$@" </dev/null
}

boot | sed -n 's/\r$//; s/.*symbol: //p' >"$work/symbols"
trace=$dir/trace.raw24
rm -f "$trace"
mkfifo "$trace"
zstd -q -f -T0 <"$trace" -o "$trace.zst.part" &
packer=$!
boot -plugin "$here/libnodewalk.so,out=$trace,node=0-1:$memory:512M,node=2-3:$second:512M,symbols=$work/symbols" >&2
wait "$packer"
packer=
rm "$trace"
mv "$trace.zst.part" "$trace.zst"
echo "nodewalk convert $trace.zst -o trace.arrow" >&2
