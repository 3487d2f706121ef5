"""Is the engine about as fast as this machine allows? `make bench-check` asks; exit code 1 if not.

A check of speed must not fail because the machine is busy, or another one than yesterday's. So

* nothing is compared with numbers of another day or machine, but with what the same thread reaches in the same second:
  the bytes it reads from memory and the int8 products it multiplies, as `bitnet bench --roofline` measures them. A token
  cannot be quicker than its bytes and its products at these rates; the share of that limit is what is checked;
* one thread works, so that it waits for no other, and its own clock counts, which stands still while others run;
* of all samples the best counts, on both sides, as a disturbance only ever takes;
* samples are taken until the shares are good, and for ten seconds if they are not;
* the floor is half of what the slowest test reaches on the machine it was set on, busy or not, and far above what remains
  when the wrong kernel runs. A kernel that falls back to plain C leaves a seventh or less; a few percent go unseen.

A share may be above 100 %: both rates are taken by the wall's clock. Instruction counts would be steadier still,
but most virtual machines and containers hide the counters, and a count says nothing of memory. What costs a few percent
is found by `bitnet bench --baseline` on a quiet machine.

    python tools/bench_check.py [--isa NAME] [--floor SHARE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bitnet_cli.bench.shapes import Shape
from bitnet_cli.bench.synthetic import RandomWeights, build
from bitnet_cli.engine.options import EngineOptions
from bitnet_cli.engine.session import Session
from bitnet_cli.native import Context
from bitnet_cli.native.timing import int8_peak, memory_bandwidth

FLOOR = 0.33
"""Of the limit. Measured on Zen 4, idle and with seven times the work it has cores for: 0.64 and more, AVX2 or AVX-512."""
MIN_ROUNDS, MAX_SECONDS = 3, 10.0
PROMPT_TOKENS, SINGLE_TOKENS, CONTEXT = 64, 12, 128
READ_BYTES = 1 << 28
# Two layers of BitNet 2B-4T with a smaller head: more than caches hold, made in a second.
SHAPE = Shape("two layers", "bitnet-b1.58", 2560, 6912, 2, 20, 5, 128, 32000, True, 1e-5, 500000.0)


@dataclass
class Check:
    """One way to evaluate tokens, and the best it has reached."""

    name: str
    sample: Callable[[], float]
    """Evaluates once and returns the seconds that this thread worked."""
    n_bytes: int
    """Weights that a sample reads at least once."""
    products: int
    best_s: float = float("inf")

    def share(self, bytes_per_s: float, products_per_s: float) -> float:
        """Of the shortest time that these rates allow."""
        return max(self.n_bytes / bytes_per_s, self.products / products_per_s) / self.best_s


def checks(ctx: Context) -> Iterator[Check]:
    """A prompt, a single token, and a single token for which zeros are skipped, which must not be slower either."""
    for skip_zeros in (False, True):
        options = EngineOptions("mad", skip_zeros)  # `auto` would measure first, and may choose either.
        model = build(RandomWeights(SHAPE, "q6_k"), ctx, options, CONTEXT)
        session = Session(model, CONTEXT)
        matrices = [matrix for layer in model.layers for matrix in layer.matrices]
        n_bytes = sum(matrix.n_bytes for matrix in matrices) + model.head.n_bytes
        products = sum(matrix.rows * matrix.cols for matrix in matrices)
        if not skip_zeros:
            yield Check(
                "prompt", lambda s=session: _seconds(s, PROMPT_TOKENS), n_bytes, products * PROMPT_TOKENS
            )
        name = "token, zeros skipped" if skip_zeros else "token"
        yield Check(
            name, lambda s=session: min(_seconds(s, 1) for _ in range(SINGLE_TOKENS)), n_bytes, products
        )


def _seconds(session: Session, n: int) -> float:
    tokens = [token * 7 % SHAPE.vocab_size for token in range(n)]
    started = time.thread_time()
    session.evaluate(tokens)
    seconds = time.thread_time() - started
    session.truncate(0)
    return seconds


def run(
    pending: list[Check], rates: Callable[[], tuple[float, float]], floor: float
) -> tuple[dict[str, float], tuple[float, float]]:
    """Samples in rounds until all shares reach the floor or the time is over.

    Args:
        pending: what to check.
        rates: measures bytes and products per second.
        floor: the share to reach.

    Returns:
        The share of each check by name, and the best rates.
    """
    bytes_per_s = products_per_s = 0.0
    started, done = time.monotonic(), 0
    while True:
        now = rates()
        bytes_per_s, products_per_s = max(bytes_per_s, now[0]), max(products_per_s, now[1])
        for check in pending:
            check.best_s = min(check.best_s, check.sample())
        shares = {check.name: check.share(bytes_per_s, products_per_s) for check in pending}
        done += 1
        good = done >= MIN_ROUNDS and min(shares.values()) >= floor
        if good or time.monotonic() - started > MAX_SECONDS:
            return shares, (bytes_per_s, products_per_s)


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--isa", help="instruction set; default: the strongest of this CPU")
    parser.add_argument("--floor", type=float, default=FLOOR, help=f"share to reach, default {FLOOR}")
    options = parser.parse_args(args)
    ctx = Context(options.isa)
    if ctx.isa == "scalar":
        print("plain C is what the others are checked against, and not meant to be fast: nothing to check")
        return 0
    shares, (bytes_per_s, products_per_s) = run(
        list(checks(ctx)),
        lambda: (memory_bandwidth(ctx, READ_BYTES) * 1e9, int8_peak(ctx) * 1e9),
        options.floor,
    )
    print(f"{ctx.isa}, one thread: {bytes_per_s / 1e9:.1f} GB/s, {products_per_s / 1e9:.0f} int8 GMAC/s")
    for name, share in shares.items():
        print(f"{name:20}  {100 * share:4.0f} % of the limit{'' if share >= options.floor else '  TOO SLOW'}")
    slow = [name for name, share in shares.items() if share < options.floor]
    if slow:
        print(
            f"error: {', '.join(slow)}: below {100 * options.floor:.0f} % of what this machine can do; "
            "`bitnet bench --roofline --ops` and `bitnet bench --kernels` show where",
            file=sys.stderr,
        )
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
