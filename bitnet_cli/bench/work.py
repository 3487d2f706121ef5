"""One call of `bitnet bench`: the options, checked, and the models and tests that follow from them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitnet_cli.bench.host import Host
from bitnet_cli.bench.probe import live_shares
from bitnet_cli.bench.report import Subject, to_json
from bitnet_cli.bench.roofline import measure
from bitnet_cli.bench.runner import Bench, Limits, Measurement, Test
from bitnet_cli.bench.shapes import shape_named
from bitnet_cli.bench.synthetic import SyntheticModel
from bitnet_cli.bench.synthetic_file import write_synthetic
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.options import EngineOptions
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import UsageError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.formats.gguf_types import type_name
from bitnet_cli.library import BUILTIN_MODEL
from bitnet_cli.native import Context, physical_cores

MAX_COUNT = 1 << 20
MAX_TESTS = 1000


def counts(text: str, option: str, low: int = 0, high: int = MAX_COUNT) -> list[int]:
    """`1,2,4` as numbers, in order and each once.

    Raises:
        UsageError: something else, or a number out of range.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(low <= n <= high for n in numbers):
        raise UsageError(
            f"`{option}` takes numbers from {low} to {high} with commas between them, not `{text}`",
            hint=f"for example `{option} {max(low, 1)},{max(low, 1) * 2}`",
        )
    return list(dict.fromkeys(numbers))


@dataclass
class Work:
    """What is asked for. Raises UsageError where options contradict each other."""

    model: Path | None
    shape: str | None
    embed_type: str
    ffn_zeros: float | None
    kernel: str
    skip_zeros: bool
    isa: str | None
    kv_type: str
    repetitions: int
    max_batch: int
    n_prompt: list[int]
    n_gen: list[int]
    depths: list[int]
    threads: list[int] | None
    roofline: bool
    ops: bool
    against: str | None
    host: Host = field(default_factory=Host.here)

    def __post_init__(self) -> None:
        if self.model is not None and self.shape is not None:
            raise UsageError("give `-m` or `--shape`, not both", hint="leave one of them out")
        if self.ffn_zeros is not None and self.shape is None:
            raise UsageError("`--ffn-zeros` makes gates of random weights", hint="give a `--shape`")
        self.synthetic = None
        if self.shape is not None:
            shape = shape_named(self.shape)
            self.synthetic = SyntheticModel(self.shape, shape, self.embed_type, self.ffn_zeros)
        self.options = EngineOptions(self.kernel, self.skip_zeros)
        self.tests = [
            test
            for depth in self.depths
            for test in (
                *(Test(n_prompt=n, depth=depth) for n in self.n_prompt if n),
                *(Test(n_gen=n, depth=depth) for n in self.n_gen if n),
            )
        ]
        if not self.tests:
            raise UsageError("there is nothing to measure", hint="give `-p` or `-n` a number above 0")
        self.rival = None
        if self.against:
            from bitnet_cli.bench.rival import Rival

            self.rival = Rival(self.against, self.model)

    def save(self, path: Path) -> None:
        """Writes the random weights as a GGUF file."""
        if self.synthetic is None:
            raise UsageError("`--save` writes random weights", hint="give a `--shape`")
        write_synthetic(self.synthetic, path)

    def run(self, say: Callable[[str], None]) -> Iterator[tuple[Measurement, Subject, dict[str, Any]]]:
        """All tests with all thread counts; each result as soon as its limits are known.

        Args:
            say: gets a line on what happens now.
        """
        for threads in self.threads or [min(physical_cores(), 256)]:
            ctx = Context(self.isa, threads)
            before = self._limits(ctx, say)
            say(f"{'making' if self.synthetic else 'loading'} {self._name()}, {threads} threads")
            model = self._model(ctx)
            subject = self._subject(model)
            bench = Bench(model, self.tests, self.repetitions, self.max_batch, self.kv_type, with_ops=self.ops)
            done = []
            for m in bench.run(self._rival_sample):
                say(f"{m.test.name}: {m.median_tps:.2f} tokens/s")
                done.append(m)
            limits = _middle([limit for limit in (before, self._limits(ctx, say)) if limit])
            for m in done:
                m.limits = limits
                yield m, subject, to_json(m, subject, self.host)

    def _rival_sample(self, m: Measurement) -> None:
        if self.rival is not None:
            m.rival_tps.append(
                self.rival.sample(m.test.n_prompt, m.test.n_gen, m.test.depth, m.threads)
            )

    def _limits(self, ctx: Context, say: Callable[[str], None]) -> Limits | None:
        if not self.roofline:
            return None
        say("measuring the limits of this machine")
        found = measure(ctx)
        return Limits(found.bandwidth_gbps, found.int8_gmacs)

    def _name(self) -> str:
        return self.shape or (str(self.model) if self.model is not None else "the built-in model")

    def _model(self, ctx: Context) -> Model:
        if self.synthetic is not None:
            return self.synthetic.build(ctx, self.options)
        reader = GGUFReader(self.model if self.model is not None else BUILTIN_MODEL)
        return Model.load(reader, reader.metadata, ctx, self.options)

    def _subject(self, model: Model) -> Subject:
        mats = [m for layer in model.layers for m in vars(layer).values() if hasattr(m, "cols")]
        subject: dict[str, Any] = {
            "name": self.shape or (self.model.name if self.model is not None else "built-in"),
            "filename": str(self.model) if self.model is not None else None,
            "size": sum(m.n_bytes for m in mats) + model.head.n_bytes,
            "n_ternary_weights": sum(m.rows * m.cols for m in mats),
            "embed_type": type_name(model.head.type).lower(),
            "kv_type": self.kv_type,
            "random_weights": self.synthetic is not None,
            "synthetic_gate": self.ffn_zeros is not None,
        }
        if model.config.arch.hidden_act == "relu2":
            shares = live_shares(Session(model, 64))
            subject["gate_zeros"] = 1 - statistics.fmean(shares.gates)
            subject["down_zeros"] = 1 - statistics.fmean(shares.down)
        return Subject(**subject)


def _middle(limits: list[Limits]) -> Limits | None:
    """The median of what was measured before and after the tests."""
    if not limits:
        return None
    return Limits(
        statistics.median(limit.bandwidth_gbps for limit in limits),
        statistics.median(limit.int8_gmacs for limit in limits),
    )
