#!/usr/bin/env bash
# count_instructions.sh [KERNEL [ISA]]: instructions that the AArch64 kernels take per product of a weight, exactly.
#
# A cross-built program runs under QEMU, which writes a line for every instruction it executes (one to a block, no
# blocks chained). A run with two calls of the kernel minus a run with one call is one call: start and end do not count.
# Matrices are 2560 x 2560, with SHAPE="ROWS COLS" others; TOKENS (32) are the tokens of kernels for several, and heads
# are counted for one token too. Environment: CC, QEMU, CMAKE, BN_COUNT_DIR (the build, default build/count).
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=${BN_COUNT_DIR:-$root/build/count}
cc=${CC:-aarch64-linux-gnu-gcc}
qemu=${QEMU:-qemu-aarch64-static}
read -r rows cols <<<"${SHAPE:-2560 2560}"
tokens=${TOKENS:-32}

mkdir -p "$build"
"${CMAKE:-cmake}" -S "$root/native" -B "$build" -DCMAKE_C_COMPILER="$cc" -DCMAKE_SYSTEM_NAME=Linux \
  -DCMAKE_SYSTEM_PROCESSOR=aarch64 >/dev/null
"${CMAKE:-cmake}" --build "$build" >/dev/null
"$cc" -O2 -std=gnu11 -Wall -Wextra -static -DBN_HAVE_NEON -DBN_HAVE_DOTPROD -DBN_HAVE_I8MM -I "$root/native/src" \
  -I "$root/native/include" "$root/tools/count_instructions.c" "$build/libbitnet_core.a" -lm -lpthread \
  -o "$build/count_instructions"

# Newer versions have another name for one instruction to a block.
step=-singlestep
if "$qemu" -help | grep -q one-insn-per-tb; then step=-one-insn-per-tb; fi

# executed KERNEL ISA TOKENS CALLS: the instructions of the whole program.
executed() {
  "$qemu" -cpu max "$step" -d exec,nochain "$build/count_instructions" "$1" "$2" "$rows" "$cols" "$3" "$4" \
    2>&1 >/dev/null | grep -c '^Trace'
}

# count KERNEL ISA TOKENS
count() {
  local products one two
  products=$("$qemu" -cpu max "$build/count_instructions" "$1" "$2" "$rows" "$cols" "$3" 1)
  one=$(executed "$1" "$2" "$3" 1)
  two=$(executed "$1" "$2" "$3" 2)
  awk -v k="$1" -v i="$2" -v r="$rows" -v c="$cols" -v t="$3" -v n="$((two - one))" -v p="$products" \
    'BEGIN { printf "%-14s %-8s %d x %d, %2d tokens  %9d / %9d = %.4f\n", k, i, r, c, t, n, p, n / p }'
}

"$qemu" -cpu max "$build/count_instructions" --list | while read -r kernel isa; do
  if [ "$isa" = scalar ] || [ "${1:-$kernel}" != "$kernel" ] || [ "${2:-$isa}" != "$isa" ]; then continue; fi
  case $kernel in
    gemv_??_i8 | table_l3_i8 | unpack_??) count "$kernel" "$isa" 1 ;;
    gemm_panel_i8) count "$kernel" "$isa" "$tokens" ;;
    gemm_*_i16)
      count "$kernel" "$isa" 1
      count "$kernel" "$isa" 4
      ;;
  esac
done
