#!/bin/sh
# ensure_python.sh PYTHON: sees to it that PYTHON can make virtual environments and build extensions.
#
# Debian and Ubuntu split Python into packages: a fresh machine has the interpreter, but neither `ensurepip` nor Python.h. What
# is missing is installed with apt-get where there is one and we may use it; otherwise a sentence says what to install.
set -eu
python=$1

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "Python 3.11 or newer is needed, and \`$python\` is not: make PYTHON=/path/to/python3.11 ..." >&2
  exit 1
fi

complete() {
  "$python" - 2>/dev/null <<'PY'
import ensurepip, os, sys, sysconfig, venv
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
PY
}

complete && exit 0

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
packages="python$version-venv python$version-dev"
if ! command -v apt-get >/dev/null 2>&1; then
  echo "\`$python\` lacks ensurepip or Python.h: install your system's packages for Python's venv and headers" >&2
  exit 1
fi
if [ "$(id -u)" = 0 ]; then sudo=; else sudo=sudo; fi
echo "Python lacks ensurepip or its headers: installing $packages" >&2
export DEBIAN_FRONTEND=noninteractive
if ! { $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends $packages; } >/dev/null || ! complete; then
  echo "That did not work. Please run: apt install $packages" >&2
  exit 1
fi
