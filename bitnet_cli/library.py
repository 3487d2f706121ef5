"""The Python API: a model file, its tokenizer and the engine behind one class."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from bitnet_cli.engine.config import ModelConfig
from bitnet_cli.engine.embedder import Embedder
from bitnet_cli.engine.generate import Generation
from bitnet_cli.engine.model import Model
from bitnet_cli.engine.options import EngineOptions
from bitnet_cli.engine.scoring import log_probabilities
from bitnet_cli.engine.session import Session
from bitnet_cli.errors import FormatError, UsageError
from bitnet_cli.formats.codecs import refuse_unused, ternary_codec_for
from bitnet_cli.formats.codecs.tiling import GivenTilings
from bitnet_cli.formats.file_mapping import located
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.generation import GenerationConfig, Result, with_options
from bitnet_cli.native import DEFAULT_KV_TYPE, Context, physical_cores
from bitnet_cli.text.chat_template import ChatTemplate
from bitnet_cli.text.repairs import repair
from bitnet_cli.text.stop_strings import StopStrings
from bitnet_cli.text.tokenizer import Tokenizer
from bitnet_cli.text.utf8_stream import Utf8Stream

BUILTIN_MODEL = Path(__file__).parent / "models" / "stories.gguf"
__all__ = ["BUILTIN_MODEL", "BitNetModel", "GenerationConfig", "Message", "Prompt", "Result"]

Message = dict[str, str]
Prompt = str | Sequence[int] | Sequence[Message]


class BitNetModel:
    """A ternary model ready to generate. Make one with `from_pretrained`.

    A model holds one sequence at a time. A prompt that begins as that sequence does is evaluated from where they part; the
    result is the same. It may be used from several threads, which then take turns; a stream that was begun before another
    generation (or `logits`) on the same model ends with a UsageError when it is read on.
    """

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        chat_template: ChatTemplate | None,
        context_length: int | None,
        kv_type: str = DEFAULT_KV_TYPE,
    ) -> None:
        self._model = model
        self.tokenizer = tokenizer
        self.chat_template = chat_template
        self._session = Session(model, context_length, kv_type=kv_type)
        self._lock = threading.Lock()
        self._owner: object = None
        """The generation that the session's contents belong to."""
        self.load_s = 0.0
        self.notes: list[str] = []
        """What had to be repaired in the file, a sentence each."""

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path | None = None,
        n_threads: int | None = None,
        context_length: int | None = None,
        isa: str | None = None,
        kernel: str | None = None,
        kv_type: str | None = None,
        i2s_layout: str | None = None,
        tiling: Sequence[str] | None = None,
    ) -> BitNetModel:
        """Loads a GGUF file.

        Args:
            path: the file; None for the small model that comes with the package.
            n_threads: None for the physical cores.
            context_length: positions; None for the model's own, at most 4096.
            isa: an instruction set by name; None for the strongest of this CPU. Results do not depend on it.
            kernel: `mad` (multiply and add) or `lut` (lookup tables); `auto` or None for what is faster here, which is
                measured once for a large model and remembered. Results do not depend on it.
            kv_type: what keys and values are stored as: `f32`, `f16` or `i8`; None for `f16`.
            i2s_layout: how I2_S weights lie in the file: `x86` or None, or `arm64` as some builds of bitnet.cpp on ARM
                wrote them. Nothing in a file tells.
            tiling: how TL1 and TL2 weights are cut into tiles, if the file does not say it and the shapes are none that
                bitnet.cpp ships a tiling for: `256,128,32`, or `1536x4096=256,128,32` for one shape.

        Raises:
            FormatError, UnsupportedError, UsageError: see `bitnet_cli.errors`.
        """
        started = time.perf_counter()
        options = EngineOptions(kernel=kernel or "auto")
        tilings = GivenTilings.parse(tiling or ())
        ctx = Context(isa, n_threads if n_threads is not None else min(physical_cores(), 256))
        reader = GGUFReader(path if path is not None else BUILTIN_MODEL)
        try:
            refuse_unused(reader, i2s_layout, tilings)
            meta, notes = repair(reader.metadata)
            with ThreadPoolExecutor(1) as beside:
                building = beside.submit(Tokenizer.from_metadata, meta)
                codec_for = partial(ternary_codec_for, i2s_layout=i2s_layout or "x86", tilings=tilings)
                model = Model.load(reader, meta, ctx, options, codec_for)
                with located(reader.path):
                    tokenizer = building.result()
                    template = ChatTemplate.from_metadata(meta, tokenizer)
            reader.advise_header_done()
            if tokenizer.n_vocab > model.config.vocab_size:
                raise FormatError(
                    f"{tokenizer.n_vocab} tokens, but an embedding of {model.config.vocab_size} rows",
                    path=reader.path,
                )
            self = cls(model, tokenizer, template, context_length, kv_type or DEFAULT_KV_TYPE)
        except BaseException:
            reader.close()
            raise
        self.notes = notes
        self.load_s = time.perf_counter() - started
        return self

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self._model.config

    @property
    def isa(self) -> str:
        """The instruction set in use."""
        return self._model.ctx.isa

    @property
    def kernel(self) -> str:
        """`mad` or `lut`: how matrices that are read whole meet one token."""
        return self._model.kernel

    @property
    def kv_type(self) -> str:
        """What keys and values are stored as: `f32`, `f16` or `i8`."""
        return self._session.kv_type

    @property
    def n_threads(self) -> int:
        return self._model.ctx.n_threads

    @property
    def context_length(self) -> int:
        """Positions a prompt and its continuation may take together."""
        return self._session.context_length

    def _or_longer_context(self) -> str:
        """The other way out where something does not fit, if there is one."""
        longest = self.config.context_length
        return f", or ask for a context of up to {longest} with `-c`" if self.context_length < longest else ""

    def require_head(self) -> None:
        """Raises UsageError if this is an embedding model, which continues no text."""
        self._model.require_head()

    def tokenize(self, text: str, *, add_bos: bool | None = None, parse_special: bool = False) -> list[int]:
        """Token ids of a text, with the beginning-of-text token if the model wants one."""
        return self.tokenizer.encode(text, add_bos=add_bos, parse_special=parse_special)

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids; control tokens have none."""
        return self.tokenizer.decode(list(ids))

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Logits after each of the tokens, float32 [n_tokens, vocab_size], from an empty context."""
        tokens = _token_ids(ids)
        with self._lock:
            self._owner = None
            self._session.truncate(0)
            return self._session.evaluate(tokens, n_logits=len(tokens))

    def log_probabilities(
        self, ids: Sequence[int], first: int = 0, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Log-probabilities of ids[first + 1:], each given all tokens before it, from an empty context.

        Args:
            ids: token ids, at most one more than the context has room for.
            first: the first position whose successor is scored, 0..len(ids) - 2.
            progress: called with the number of tokens done, now and then.

        Returns:
            float64 [len(ids) - 1 - first], natural logarithms.

        Raises:
            UsageError: nothing to score, ids that do not exist, or more than the context has room for.
        """
        tokens = _token_ids(ids)
        if not 0 <= first < len(tokens) - 1:
            raise UsageError(
                f"nothing comes after position {first} of {len(tokens)} tokens",
                hint="`first` must leave at least one token",
            )
        if min(tokens) < 0 or max(tokens) >= self.tokenizer.n_vocab:
            raise UsageError(
                f"token ids must be 0 to {self.tokenizer.n_vocab - 1}", hint="take them from `tokenize`"
            )
        with self._lock:
            self._owner = None
            return log_probabilities(self._session, tokens, first, self.tokenizer.n_vocab, progress)

    def embed(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> np.ndarray:
        """The vectors of texts, each evaluated from an empty context.

        Args:
            texts: plain texts, with the prefix that the model wants for the task (such as `query: `). EOS is appended if
                the model's file says so.
            progress: called with the number of texts done.

        Returns:
            float32 [n_texts, dim], each of length 1: a product of two of them is their cosine similarity.

        Raises:
            UsageError: this is no embedding model, or a text does not fit the context.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise UsageError("texts to embed come in a list", hint='for example `embed(["one", "two"])`')
        embedder, end = Embedder(self._session), self.tokenizer.eos_at_end
        vectors = np.empty((len(texts), self.config.dim), np.float32)
        for i, text in enumerate(texts):
            ids = self.tokenize(text) + ([end] if end is not None else [])
            with self._lock:
                self._owner = None
                vectors[i] = embedder.embed(ids)
            if progress is not None:
                progress(i + 1)
        return vectors

    def generate(self, prompt: Prompt, config: GenerationConfig | None = None, **options: Any) -> str:
        """The continuation of a prompt as one string. Arguments as `generate_stream`."""
        return "".join(self.generate_stream(prompt, config, **options))

    def generate_stream(
        self,
        prompt: Prompt,
        config: GenerationConfig | None = None,
        *,
        result: Result | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Any,
    ) -> Iterator[str]:
        """The continuation of a prompt, in pieces as they are made; never cut inside a character.

        Args:
            prompt: a text to continue as it is, token ids, or chat messages ({"role": …, "content": …}) that are put into
                the model's template.
            config: defaults of a GenerationConfig if None.
            result: filled with ids, text, finish reason and timings as far as the stream was read.
            progress: called with the number of prompt tokens evaluated.
            **options: fields of GenerationConfig that differ from ``config``.

        Raises:
            UsageError: an unknown option, an empty prompt, one that does not fit the context, or an embedding model.
        """
        config = with_options(config or GenerationConfig(), options)
        self.require_head()
        ids = self.prompt_ids(prompt)
        if len(ids) > self.context_length:
            raise UsageError(
                f"{len(ids)} tokens do not fit into a context of {self.context_length}",
                hint="shorten the prompt" + self._or_longer_context(),
            )
        result = result if result is not None else Result()
        result.prompt_tokens = len(ids)
        return self._pieces(ids, config, result, progress)

    def _pieces(
        self,
        ids: list[int],
        config: GenerationConfig,
        result: Result,
        progress: Callable[[int], None] | None,
    ) -> Iterator[str]:
        generation = self._begun(ids, config, progress)
        result.timings = generation.timings
        result.reused_tokens = len(ids) - generation.timings.prompt_tokens
        stops, characters = StopStrings(config.stop), Utf8Stream()
        for token in self._turns(generation):
            result.token_ids.append(token)
            piece = stops.feed(characters.feed(self.tokenizer.token_bytes(token)))
            if piece:
                result.text += piece
                yield piece
            if stops.found:
                result.finish_reason = "stop"
                return
        result.finish_reason = generation.finish_reason
        last = stops.feed(characters.flush()) + stops.flush()
        if last:
            result.text += last
            yield last

    def _begun(
        self, ids: list[int], config: GenerationConfig, progress: Callable[[int], None] | None
    ) -> Generation:
        """A generation that owns the session, which keeps what it has in common with the prompt."""
        with self._lock:
            held = self._session.ids
            # The last token is evaluated in any case: what comes after it is what is asked for.
            most = min(len(held), len(ids) - 1)
            same = next((i for i in range(most) if held[i] != ids[i]), most)
            self._session.truncate(same)
            generation = Generation(
                self._session,
                ids[same:],
                config.sampling,
                max_new_tokens=config.max_new_tokens,
                eos_ids=self.tokenizer.eos_ids,
                n_vocab=self.tokenizer.n_vocab,
                seed=config.seed,
                speculate=config.speculate,
                progress=progress,
            )
            self._owner = generation
        return generation

    def _turns(self, generation: Generation) -> Iterator[int]:
        """The tokens of a generation, each made under the lock and only while the session is still its own."""
        tokens = iter(generation)
        while True:
            with self._lock:
                if self._owner is not generation:
                    raise UsageError(
                        "another generation has begun on this model",
                        hint="read one stream to its end before the next, or load the model twice",
                    )
                token = next(tokens, None)
            if token is None:
                return
            yield token

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The token ids that a prompt of any kind stands for."""
        if isinstance(prompt, str):
            ids = self.tokenize(prompt)
        elif len(prompt) and all(isinstance(message, dict) for message in prompt):
            if self.chat_template is None:
                raise UsageError("this model has no chat template", hint="give it a text to continue instead")
            with located(self._model.path):
                ids = self.chat_template.encode(cast(Sequence[Message], prompt))
        else:
            ids = _token_ids(prompt)
        if not ids:
            raise UsageError("the prompt is empty", hint="give a text to continue")
        return ids


def _token_ids(ids: Any) -> list[int]:
    """Token ids from any sequence of whole numbers.

    Raises:
        UsageError: it holds something else.
    """
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise UsageError(
            "a prompt is a text, a list of token ids, or a list of messages with role and content",
            hint='such as `[{"role": "user", "content": "Hello"}]`',
        )
    return [int(i) for i in array]
