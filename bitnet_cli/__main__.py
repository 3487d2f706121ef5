"""`python -m bitnet_cli` is `bitnet`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Runs the command line; Ctrl-C while it is still being imported, too, ends in one line."""
    # NumPy's BLAS, which nothing here uses, would start threads that spin beside ours while a model is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from bitnet_cli.cli.app import main as command_line

        return command_line()
    except KeyboardInterrupt:
        if os.environ.get("BITNET_DEBUG"):
            raise
        if sys.stderr is not None:
            print("error: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
