#!/usr/bin/env bash
# run_checks.sh: builds and runs the check programs on every kind of CPU this machine can show.
#
#   run_checks.sh native|asan|tsan|aarch64|x86-floor|all ...
#
#   native      plain build: all checks in full; no vector instruction outside of its file; no symbol without our prefix
#   asan        address and undefined behaviour sanitizers
#   tsan        thread sanitizer: the pool, and plans with several threads
#   aarch64     under QEMU: with i8mm (max), without (neoverse-n1), without dotprod (cortex-a72)
#   x86-floor   under QEMU: an x86-64 without AVX runs the library, scalar
#
# A mode whose tools are missing says so in one line and passes; with BN_REQUIRE_ALL=1 it fails.
# Environment: CC, CMAKE, BN_CHECK_DIR (builds, default build/checks), BN_REQUIRE_ALL.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
builds=${BN_CHECK_DIR:-$root/build/checks}
cmake=${CMAKE:-cmake}
cc=${CC:-cc}

skipped=
have() { command -v "$1" >/dev/null 2>&1; }

# left_out MODE NEEDS: the one line about a mode that cannot run here.
left_out() {
  echo "left out: $1 (needs $2)"
  skipped+=" $1 "
  [ "${BN_REQUIRE_ALL:-0}" != 1 ]
}

fail() {
  echo "FAILED: $1" >&2
  return 1
}

# build DIR [CMAKE ARGUMENTS]: quiet unless it fails.
build() {
  local dir=$builds/$1 log=$builds/$1.log generator=()
  shift
  mkdir -p "$builds"
  have ninja && generator=(-G Ninja)
  if ! { "$cmake" -S "$root/native" -B "$dir" "${generator[@]}" -DBN_BUILD_TESTS=ON -DBN_WARNINGS_ARE_ERRORS=ON "$@" &&
         "$cmake" --build "$dir" --parallel 2; } >"$log" 2>&1; then
    cat "$log" >&2
    fail "the build in $dir"
  fi
}

# run PROGRAM...: shows the command in front of what it prints.
run() {
  echo "+ ${*//$builds\//}"
  "$@"
}

first_of() {
  local name
  for name in "$@"; do
    if have "$name"; then
      echo "$name"
      return
    fi
  done
}

# ---- native ------------------------------------------------------------------------------------------------------------

# The ISAs that the kernel says this CPU has: check_kernels must have run them.
required_isas() {
  local flags
  flags=" $(grep -m1 -E '^(flags|Features)' /proc/cpuinfo 2>/dev/null | cut -d: -f2) "
  case $flags in *" avx2 "*) echo --require avx2 ;; esac
  case $flags in *" avx_vnni "*) echo --require avxvnni ;; esac
  case $flags in *" avx512vbmi "*avx512_vnni*) echo --require avx512icl ;; esac
  case $flags in *" asimd "*) echo --require neon ;; esac
  case $flags in *" asimddp "*) echo --require dotprod ;; esac
  case $flags in *" i8mm "*) echo --require i8mm ;; esac
}

# Instructions above the architecture's floor appear only in the files compiled for their ISA.
check_objects() {
  local library=$1 objects=$builds/objects object vector
  rm -rf "$objects"
  mkdir -p "$objects"
  (cd "$objects" && ar x "$library")
  case $(uname -m) in
    x86_64) vector='%[yz]mm|\bv[a-z0-9]+[[:space:]].*%xmm' ;;
    *) vector='\b([su]dot|[su]mmla|usmmla)\b' ;;
  esac
  for object in "$objects"/*.o; do
    case $object in
      *_avx2.c.o | *_avxvnni.c.o | *_avx512icl.c.o | *_dotprod.c.o | *_i8mm.c.o) continue ;;
    esac
    if objdump -d --no-show-raw-insn "$object" | grep -qE "$vector"; then
      fail "$(basename "$object") holds vector instructions but is compiled for every CPU"
    fi
  done
}

# Every global symbol of the library begins with our prefix.
check_symbols() {
  local foreign
  foreign=$(nm -g --defined-only "$1" | awk 'NF == 3 && $3 !~ /^_?bn_/ {print $3}')
  [ -z "$foreign" ] || fail "global symbols without the prefix bn_: $foreign"
}

mode_native() {
  have "$cc" || { left_out native "a C compiler"; return; }
  build native -DCMAKE_C_COMPILER="$cc"
  # shellcheck disable=SC2046
  run "$builds/native/tests/check_kernels" $(required_isas)
  run "$builds/native/tests/check_pool"
  run "$builds/native/tests/check_os"
  run "$builds/native/tests/check_library"
  run "$builds/native/tests/check_bench"
  run "$builds/native/tests/header_test"
  if [ -x "$builds/native/tests/header_test_cxx" ]; then
    run "$builds/native/tests/header_test_cxx"
  fi
  if have nm && have ar && have objdump; then
    check_objects "$builds/native/libbitnet_core.a"
    check_symbols "$builds/native/libbitnet_core.a"
    echo "objects and symbols: no stray vector instruction, no symbol without bn_"
  else
    left_out "objects and symbols" "nm, ar and objdump"
  fi
}

# ---- Sanitizers: unoptimised, because optimising the unrolled kernels with them takes minutes -------------------------

# sanitizer_works FLAG: a program built with it starts here.
sanitizer_works() {
  mkdir -p "$builds"
  echo 'int main(void) { return 0; }' | "$cc" "-fsanitize=$1" -x c - -o "$builds/probe" 2>/dev/null &&
    "$builds/probe" >/dev/null 2>&1
}

mode_asan() {
  sanitizer_works address,undefined || { left_out asan "a C compiler with the address sanitizer"; return; }
  build asan -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=None \
    -DCMAKE_C_FLAGS="-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" \
    -DCMAKE_CXX_FLAGS="-fsanitize=address,undefined"
  run "$builds/asan/tests/check_kernels" --quick
  run "$builds/asan/tests/check_pool" --quick
  run "$builds/asan/tests/check_os" --quick
  run "$builds/asan/tests/check_library" --quick
  run "$builds/asan/tests/check_bench" --quick
}

mode_tsan() {
  sanitizer_works thread || { left_out tsan "a C compiler with the thread sanitizer"; return; }
  build tsan -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS="-O0 -g -fsanitize=thread" \
    -DCMAKE_CXX_FLAGS="-fsanitize=thread"
  run "$builds/tsan/tests/check_pool"
  run "$builds/tsan/tests/check_library" --quick
}

# ---- Emulated CPUs -----------------------------------------------------------------------------------------------------

mode_aarch64() {
  local compiler qemu at=$builds/aarch64/tests
  if [ "$(uname -m)" = aarch64 ]; then compiler=$cc; else compiler=$(first_of aarch64-linux-gnu-gcc); fi
  qemu=$(first_of qemu-aarch64-static qemu-aarch64)
  [ -n "$compiler" ] && [ -n "$qemu" ] || { left_out aarch64 "aarch64-linux-gnu-gcc and qemu-aarch64-static"; return; }
  build aarch64 -DCMAKE_C_COMPILER="$compiler" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_EXE_LINKER_FLAGS=-static
  run "$qemu" -cpu max "$at/check_kernels" --quick --require neon --require dotprod --require i8mm
  run "$qemu" -cpu neoverse-n1 "$at/check_kernels" --quick --require neon --require dotprod
  run "$qemu" -cpu cortex-a72 "$at/check_kernels" --quick --require neon
  run "$qemu" -cpu max "$at/check_pool" --quick
  run "$qemu" -cpu max "$at/check_os" --quick
  run "$qemu" -cpu max "$at/check_library" --quick
  run "$qemu" -cpu max "$at/check_bench" --quick
  run "$qemu" -cpu cortex-a72 "$at/check_library" --quick
}

mode_x86-floor() {
  local compiler qemu at=$builds/x86-floor/tests
  if [ "$(uname -m)" = x86_64 ]; then compiler=$cc; else compiler=$(first_of x86_64-linux-gnu-gcc); fi
  qemu=$(first_of qemu-x86_64-static qemu-x86_64)
  [ -n "$compiler" ] && [ -n "$qemu" ] || { left_out x86-floor "an x86-64 compiler and qemu-x86_64-static"; return; }
  build x86-floor -DCMAKE_C_COMPILER="$compiler" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=x86_64 \
    -DCMAKE_EXE_LINKER_FLAGS=-static
  run "$qemu" -cpu Nehalem "$at/check_kernels" --quick --require scalar
  run "$qemu" -cpu Nehalem "$at/check_pool" --quick
  run "$qemu" -cpu Nehalem "$at/check_library" --quick
}

# ------------------------------------------------------------------------------------------------------------------------

usage() {
  sed -n '2,14s/^# \{0,1\}//p' "$0"
  exit 2
}

[ $# -gt 0 ] || usage
modes=()
for mode in "$@"; do
  case $mode in
    all) modes+=(native asan tsan aarch64 x86-floor) ;;
    native | asan | tsan | aarch64 | x86-floor) modes+=("$mode") ;;
    *) usage ;;
  esac
done
if ! have "$cmake"; then
  left_out "the C checks" "cmake"
  exit
fi
for mode in "${modes[@]}"; do
  echo "== $mode"
  "mode_$mode"
done
passed=
for mode in "${modes[@]}"; do
  [[ $skipped == *" $mode "* ]] || passed+=" $mode"
done
echo "C checks passed:${passed:- none}"
