"""A small deterministic mutation fuzzer for file parsers: valid seeds, changed a little, must never do harm.

The invariant of every target: a file is either read completely or refused with a FormatError or
UnsupportedError, within a second of CPU and within a few megabytes. The same --seed gives the same sequence
of files on every machine.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bitnet_cli.errors import FormatError, UnsupportedError

MAX_SECONDS = 1.0  # of CPU
MAX_MEMORY = 24 << 20
"""A refused 2 kB file costs less than 1 MB; decoding to float32 may take some times the file."""

_NUMBERS = [0, 1, 2, 3, 7, 8, 31, 32, 127, 128, 255, 256, 65535, 65536, 1 << 31, (1 << 32) - 1, 1 << 32]
_NUMBERS += [1 << 60, 1 << 61, (1 << 63) - 1, 1 << 63, (1 << 64) - 32, (1 << 64) - 8, (1 << 64) - 1]
_BYTES = b'\x00\x01\x7f\x80\xff{}[]",:0-9eE\\u'


def mutate(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with 1 to 6 changes."""
    raw = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(_CHANGES)(rng, raw, seeds)
    return bytes(raw)


def _position(rng: random.Random, raw: bytearray) -> int:
    """Somewhere in the file; half of the time in its first 64 bytes, where the counts are."""
    return rng.randrange(min(len(raw), 64) if rng.random() < 0.5 else len(raw)) if raw else 0


def _flip(rng: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    if raw:
        raw[_position(rng, raw)] ^= 1 << rng.randrange(8)


def _set_byte(rng: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    if raw:
        raw[_position(rng, raw)] = rng.choice(_BYTES)


def _set_number(rng: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    width = rng.choice((2, 4, 8))
    value = rng.choice([*_NUMBERS, len(raw), len(raw) - 1, len(raw) + 1])
    at = _position(rng, raw)
    raw[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _add_to_number(rng: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    at = _position(rng, raw)
    field = raw[at : at + 8]
    value = int.from_bytes(field, "little") + rng.choice((-32, -8, -1, 1, 8, 32))
    raw[at : at + 8] = (value % (1 << 8 * len(field))).to_bytes(len(field), "little")


def _insert(rng: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    at = _position(rng, raw)
    raw[at:at] = rng.randbytes(rng.choice((1, 4, 8, 33)))


def _delete(rng: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    at = _position(rng, raw)
    del raw[at : at + rng.choice((1, 4, 8, 33, 200))]


def _repeat(rng: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    at, width = _position(rng, raw), rng.choice((1, 8, 30, 100))
    raw[at:at] = raw[at : at + width] * rng.choice((1, 1, 2, 50))


def _splice(rng: random.Random, raw: bytearray, seeds: Sequence[bytes]) -> None:
    other = rng.choice(seeds)
    at, other_at, width = _position(rng, raw), rng.randrange(len(other)), rng.choice((4, 16, 64, 500))
    raw[at : at + width] = other[other_at : other_at + width]


def _truncate(rng: random.Random, raw: bytearray, _: Sequence[bytes]) -> None:
    del raw[_position(rng, raw) :]


_CHANGES = [
    _flip,
    _set_byte,
    _set_number,
    _set_number,
    _add_to_number,
    _insert,
    _delete,
    _repeat,
    _splice,
    _truncate,
]


def fuzz(read: Callable[[Path], object], seeds: Sequence[bytes], seed: int, seconds: float) -> Counter[str]:
    """Runs mutated files through `read` for some time.

    Args:
        read: reads a file completely.
        seeds: valid files; each must be readable.
        seed: of the random numbers.
        seconds: how long.

    Returns:
        How many files were read, and how many refused with which exception.

    Raises:
        AssertionError: the invariant is broken; the file is kept and named in the message.
    """
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed"
        for raw in seeds:
            path.write_bytes(raw)
            read(path)
        tracemalloc.start()
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            if outcomes.total() % 1000 == 0:
                faulthandler.dump_traceback_later(120, exit=True)
            path.unlink()
            path.write_bytes(mutate(rng, seeds))
            outcomes[_outcome(read, path, f"{seed}-{outcomes.total()}")] += 1
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()
    return outcomes


def _outcome(read: Callable[[Path], object], path: Path, label: str) -> str:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    start = time.process_time()
    try:
        read(path)
        outcome = "read"
    except (FormatError, UnsupportedError) as error:
        outcome = type(error).__name__
        if not str(error).isprintable():
            raise _violation(path, label, "the message is not printable") from error
    except BaseException as error:
        raise _violation(path, label, repr(error)) from error
    if time.process_time() - start > MAX_SECONDS:
        raise _violation(path, label, f"took {time.process_time() - start:.1f} s")
    if (peak := tracemalloc.get_traced_memory()[1] - before) > MAX_MEMORY:
        raise _violation(path, label, f"took {peak / 1e6:.0f} MB")
    return outcome


def _violation(path: Path, label: str, what: str) -> AssertionError:
    kept = Path(tempfile.gettempdir()) / f"fuzz-{label}.bin"
    kept.write_bytes(path.read_bytes())
    return AssertionError(f"{what}; the file is kept as {kept}")


def main(read: Callable[[Path], object], seeds: Sequence[bytes], least: int) -> None:
    """The command line of a target; exit code 1 if the invariant breaks or fewer than `least` files were tried."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    outcomes = fuzz(read, seeds, arguments.seed, arguments.seconds)
    print(f"{outcomes.total()} files: " + ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items())))
    if outcomes.total() < least:
        sys.exit(f"only {outcomes.total()} files in {arguments.seconds} s")
