"""One file per command: parse, call, hand the result to `out`."""
