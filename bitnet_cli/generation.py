"""How a text is to be generated, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bitnet_cli.engine.generate import Timings
from bitnet_cli.engine.sampler import Sampling
from bitnet_cli.errors import UsageError


@dataclass(frozen=True)
class GenerationConfig:
    """How to generate. Greedy unless ``do_sample``."""

    max_new_tokens: int = 128
    do_sample: bool = False
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    seed: int = 0
    stop: tuple[str, ...] | str = ()
    """Texts that end the generation; they are not part of the result."""
    speculate: bool = False
    """Guess tokens ahead where the text repeats itself. The result is the same; repetitive text comes faster."""

    def __post_init__(self) -> None:
        for name, kind in (("max_new_tokens", int), ("seed", int), ("temperature", int | float)):
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise UsageError(
                    f"{name} must be a number, not {value!r}", hint="leave it out for the default"
                )
        if not isinstance(self.speculate, bool):
            raise UsageError(
                f"speculate must be True or False, not {self.speculate!r}", hint="leave it out for False"
            )
        if self.max_new_tokens < 0:
            raise UsageError(
                f"max_new_tokens must not be negative, but is {self.max_new_tokens}",
                hint="0 generates nothing",
            )
        if self.seed < 0:
            raise UsageError(
                f"seed must not be negative, but is {self.seed}", hint="leave it out for a new one each time"
            )
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if not all(isinstance(text, str) for text in stop):
            raise UsageError("stop must be texts", hint='such as `stop=("END",)`')
        object.__setattr__(self, "stop", tuple(text for text in stop if text))
        # What is out of range is refused now, not in the middle of a generation.
        replace(self.sampling, temperature=self.temperature)

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature if self.do_sample else 0.0,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            repeat_last_n=self.repeat_last_n,
        )


@dataclass
class Result:
    """What a generation gave; filled while its stream is read."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    """How many of them the model still held from before, so that they were not evaluated again."""
    token_ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: str = "length"
    """`stop` (end token or stop text), `length`, `context` (no room left) or `interrupted`."""
    timings: Timings = field(default_factory=Timings)


def with_options(config: GenerationConfig, options: dict[str, Any]) -> GenerationConfig:
    """A config with some fields changed; UsageError for a field that there is not."""
    known = set(GenerationConfig.__dataclass_fields__)
    unknown = sorted(set(options) - known)
    if unknown:
        raise UsageError(f"unknown option `{unknown[0]}`", hint=f"the options are {', '.join(sorted(known))}")
    return replace(config, **options)
