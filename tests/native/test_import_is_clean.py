"""Importing the package changes nothing in the process: floating point state, threads, signals, environment, output."""

from __future__ import annotations

import json
import subprocess
import sys

PROBE = """
import json, os, signal, sys, threading
import ctypes
import numpy

def state():
    tiny = ctypes.c_float(1e-40).value            # a subnormal: 0 if denormals are flushed
    libm = ctypes.CDLL(None)
    return {
        "subnormals": tiny * 0.5 > 0.0 and 5e-324 > 0.0 and 5e-324 * 1.0 > 0.0,
        "rounding": libm.fegetround() if hasattr(libm, "fegetround") else None,
        "third": (1.0 / 3.0).hex(),
        "threads": threading.active_count(),
        "os_threads": len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None,
        "signals": [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "environment": dict(os.environ),
        "warnings": len(sys.modules["warnings"].filters),
    }

before = state()
import bitnet_cli
import bitnet_cli.native._bitnet
after = state()
print(json.dumps([before, after]))
"""


def test_import_changes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert before == after
    assert after["subnormals"]
    assert done.stderr == ""
