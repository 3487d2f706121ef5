"""A conversation: who said what, how it fits into the context, and the loop of one answer.

The model keeps what it evaluated of a conversation. Turns keep the ids that were generated, so a new turn begins with all
that is there already and only what is new is evaluated; taking turns back shortens what is kept. When the context is full
the oldest turns leave it, whole turns at a time, and the system text stays. They are not forgotten here: a transcript has
them, and `n_dropped` says how many the model no longer sees.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from bitnet_cli.chat.prompt_format import prompt_format
from bitnet_cli.chat.thoughts import CLOSE, OPEN, thoughts_and_answer
from bitnet_cli.chat.turn import Turn, readable
from bitnet_cli.errors import UsageError
from bitnet_cli.library import BitNetModel, GenerationConfig, Result
from bitnet_cli.text.stop_strings import StopStrings
from bitnet_cli.text.utf8_stream import Utf8Stream


@dataclass
class Reply:
    """What became of one turn; filled while it is answered."""

    text: str = ""
    """All that the model said, a reasoning model's thoughts and their tags included."""
    begins_thinking: bool = False
    """The template has opened the thoughts: `text` begins inside of them."""
    prompt_tokens: int = 0
    """Tokens evaluated before the first new one could be chosen."""
    reused_tokens: int = 0
    """Tokens before it that the model still held."""
    tokens: int = 0
    """Tokens generated."""
    prompt_s: float = 0.0
    decode_tokens: int = 0
    decode_s: float = 0.0
    context_tokens: int = 0
    """Tokens that the conversation takes now."""
    dropped_turns: int = 0
    """Turns that left the context to make room."""
    finish_reason: str = ""
    """`stop`, `length` (the most tokens were reached), `context` (no room left) or `interrupted`."""

    @property
    def tps(self) -> float:
        """Tokens per second after the first; 0 where nothing was measured."""
        return self.decode_tokens / self.decode_s if self.decode_s > 0 else 0.0

    @property
    def prompt_tps(self) -> float:
        """Prompt tokens evaluated per second; 0 where nothing was measured."""
        return self.prompt_tokens / self.prompt_s if self.prompt_s > 0 else 0.0


class _Stopped(Exception):
    """The answer is not wanted any more."""


def _never() -> bool:
    return False


class Conversation:
    """A person and a model taking turns.

    Args:
        model: the model; while it answers nobody else may use it.
        system: what the model is told beforehand; empty for nothing.
        config: how answers are generated. `max_new_tokens` bounds one answer.
        seed: of the random choices of all answers together.

    Raises:
        UsageError: a system text for a model that has no place for it, or that fills the context.
    """

    def __init__(
        self, model: BitNetModel, system: str = "", config: GenerationConfig | None = None, seed: int = 0
    ) -> None:
        self.model = model
        self.config = config or GenerationConfig()
        self.turns: list[Turn] = []
        self.n_dropped = 0
        """How many of the turns, from the first, are no longer in the context."""
        self.format = prompt_format(model)
        self.replies: list[Reply] = []
        """Of all turns that were answered here, those that were taken back, too."""
        self._system = readable(system)
        self._seeds = random.Random(seed)
        self._context_tokens: int | None = self._system_tokens(system)
        control = model.tokenizer.control_id
        self._tags = {n: tag.encode() for tag in (OPEN, CLOSE) if (n := control(tag)) is not None}
        """Tags of thoughts that are control tokens of this vocabulary, which have no bytes of their own."""

    @property
    def system(self) -> str:
        """What the model is told beforehand; may be changed at any time."""
        return self._system

    @system.setter
    def system(self, text: str) -> None:
        self._system_tokens(text)  # A text that has no place is refused before it replaces the other one.
        self._system, self._context_tokens = readable(text), None

    @property
    def context_tokens(self) -> int:
        """Tokens of the context that the conversation takes."""
        if self._context_tokens is None:
            # An answer that was cut for want of room leaves none for what ends its turn, either.
            self._context_tokens = min(len(self._encode()), self.model.context_length)
        return self._context_tokens

    @cached_property
    def begins_thinking(self) -> bool:
        """Whether the template itself opens the thoughts of a reasoning model."""
        end = self.format.encode(self._system, [Turn("a")])[-16:] if self.format.has_roles else []
        return b"".join(map(self._bytes, end)).rstrip().endswith(OPEN.encode())

    def answer(self, turn: Turn) -> str:
        """What was answered in a turn, without the thoughts of a reasoning model."""
        return thoughts_and_answer(turn.answer or "", self.begins_thinking)[1]

    def say(
        self,
        text: str,
        reply: Reply | None = None,
        *,
        stopped: Callable[[], bool] = _never,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[str]:
        """Adds a turn and streams its answer, in pieces that are never cut inside a character.

        Args:
            text: what the person says.
            reply: filled as far as the answer goes.
            stopped: asked after every token; True ends the answer, which stays as far as it goes. A turn of which
                nothing was answered yet is taken back.
            progress: called with the number of prompt tokens that are evaluated, and of all that have to be.

        Raises:
            UsageError: the turn alone does not fit into the context.
            BitnetError: the model's template refuses the conversation. The conversation is then as it was before.
        """
        turn = Turn(readable(text))
        self.turns.append(turn)
        dropped = self.n_dropped
        try:
            yield from self._answered(turn, reply if reply is not None else Reply(), stopped, progress)
        finally:
            if turn.answer is None:
                self.turns.pop()
                self.n_dropped, self._context_tokens = dropped, None

    def again(
        self,
        reply: Reply | None = None,
        *,
        text: str | None = None,
        stopped: Callable[[], bool] = _never,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[str]:
        """Takes the last turn back and streams another answer to it, or to `text` in its place. Else as `say`.

        If nothing comes of it the turn stays as it was.

        Raises:
            UsageError: there is no turn yet; and as `say`.
        """
        if not self.turns:
            raise UsageError("nothing was said yet", hint="say something first")
        before, dropped = self.turns.pop(), self.n_dropped
        n_turns = len(self.turns)
        try:
            yield from self.say(
                before.user if text is None else text, reply, stopped=stopped, progress=progress
            )
        finally:
            if len(self.turns) == n_turns:
                self.turns.append(before)
                self.n_dropped, self._context_tokens = dropped, None

    def undo(self) -> Turn | None:
        """Takes the last turn back and returns it; None if there is none."""
        if not self.turns:
            return None
        self._context_tokens = None
        turn = self.turns.pop()
        if self.n_dropped >= len(self.turns):
            self.n_dropped = 0  # What is left may fit again.
        return turn

    def clear(self) -> None:
        """Forgets all turns; the system text stays."""
        self.resume([])

    def resume(self, turns: list[Turn]) -> None:
        """Continues with these turns, all of them answered, in place of those that are here."""
        self.turns, self.n_dropped, self._context_tokens = turns, 0, None

    def for_another_model(self) -> Callable[[BitNetModel], Conversation]:
        """A function that gives the same conversation with another model; it does not hold on to this one's model.

        Answers stay texts, with ids only where these mean the same to the other model. The function raises UsageError or
        another BitnetError if that model has no place for the system text.
        """
        system, config, turns, replies = self._system, self.config, self.turns, self.replies
        seed, vocabulary = self._seeds.getrandbits(32), self.model.tokenizer.fingerprint()

        def with_model(model: BitNetModel) -> Conversation:
            other = Conversation(model, system, config, seed)
            same = model.tokenizer.fingerprint() == vocabulary
            other.resume([replace(turn, ids=turn.ids if same else None) for turn in turns])
            other.replies = replies
            return other

        return with_model

    def _bytes(self, token: int) -> bytes:
        """What a token adds to a text that is shown."""
        return self._tags.get(token) or self.model.tokenizer.token_bytes(token)

    def _system_tokens(self, system: str) -> int:
        """Tokens that a system text takes alone.

        Raises:
            UsageError: it has no place, or leaves none for a turn.
        """
        n, length = len(self.format.encode(system, [])), self.model.context_length
        if system and n >= length:
            raise UsageError(
                f"the system text takes {n} tokens, which leaves nothing of the context of {length}",
                hint="shorten it, or ask for a longer context with `-c`",
            )
        return n

    def _encode(self) -> list[int]:
        return self.format.encode(self._system, self.turns[self.n_dropped :])

    def _answered(
        self,
        turn: Turn,
        reply: Reply,
        stopped: Callable[[], bool],
        progress: Callable[[int, int], None] | None,
    ) -> Iterator[str]:
        said: list[int] = []
        stops, characters = StopStrings(self.config.stop), Utf8Stream()
        reply.begins_thinking = self.begins_thinking
        pieces = self._tokens(said, reply, stopped, progress)
        try:
            for token in pieces:
                piece = self._spoken(stops.feed(characters.feed(self._bytes(token))), reply)
                if piece:
                    yield piece
                if stops.found:
                    reply.finish_reason = "stop"
                    return
            piece = self._spoken(stops.feed(characters.flush()) + stops.flush(), reply)
            if piece:
                yield piece
        except BaseException:
            # Whoever stops listening has heard what was said until then.
            reply.finish_reason = "interrupted"
            raise
        finally:
            pieces.close()
            if said or reply.finish_reason not in ("interrupted", ""):
                self._record(turn, said, reply)

    def _spoken(self, piece: str, reply: Reply) -> str:
        """Adds a piece to the reply; an answer does not begin with white space, unless it goes on with a text."""
        if self.format.has_roles and not reply.text:
            piece = piece.lstrip()
        reply.text += piece
        return piece

    def _tokens(
        self,
        said: list[int],
        reply: Reply,
        stopped: Callable[[], bool],
        progress: Callable[[int, int], None] | None,
    ) -> Generator[int]:
        """The tokens of an answer, which are also put into `said`; makes room in the context as often as it needs to."""
        config = replace(self.config, seed=self._seeds.getrandbits(32), stop=())
        while True:
            ids = self._fitted(said, reply)
            result = Result()
            stream = self.model.generate_stream(
                ids,
                replace(config, max_new_tokens=self.config.max_new_tokens - len(said)),
                result=result,
                progress=_checked(stopped, progress, len(ids), result),
            )
            begun = len(said)
            try:
                for _ in stream:
                    yield from _newly_said(said, begun, result, reply, len(ids))
                    if stopped():
                        result.finish_reason = "interrupted"
                        break
                yield from _newly_said(said, begun, result, reply, len(ids))
            except _Stopped:
                result.finish_reason = "interrupted"
            finally:
                _add_timings(reply, result)
            reply.finish_reason = result.finish_reason
            if reply.finish_reason != "context" or self.n_dropped >= len(self.turns) - 1:
                return

    def _fitted(self, said: list[int], reply: Reply) -> list[int]:
        """The prompt, with what was answered of the last turn already, after the oldest turns have made room if need be.

        A quarter of the context is kept for the answer if it may be so long. Turns leave until half of the context is
        free, because whatever leaves has everything after it evaluated again: that should happen seldom.
        """
        length = self.model.context_length
        room = min(self.config.max_new_tokens - len(said), length // 4) if not said else 1
        ids = self._encode() + said
        if len(ids) + room > length:
            while self.n_dropped < len(self.turns) - 1:
                self.n_dropped += 1
                reply.dropped_turns += 1
                ids = self._encode() + said
                if len(ids) <= length // 2:
                    break
        if len(ids) > length:
            turn = "this turn takes" if not self._system else "this turn and the system text take"
            raise UsageError(
                f"{turn} {len(ids)} tokens, more than the context of {length}",
                hint="say less at once, or ask for a longer context with `-c`",
            )
        return ids

    def _record(self, turn: Turn, said: list[int], reply: Reply) -> None:
        """Keeps what was said with the turn."""
        turn.answer, turn.finish_reason = reply.text, reply.finish_reason
        turn.ids = self._ids_of(reply.text, said)
        self.replies.append(reply)
        self._context_tokens = None
        reply.context_tokens = self.context_tokens

    def _ids_of(self, text: str, said: list[int]) -> tuple[int, ...] | None:
        """The tokens that make a text: all, or, where a stop text was cut off, those before it if they end there."""
        for n in range(len(said), -1, -1):
            spoken = b"".join(map(self._bytes, said[:n])).decode("utf-8", "replace")
            if spoken.strip() == text.strip():
                return tuple(said[:n])
            if len(spoken) < len(text):
                break
        return None


def _checked(
    stopped: Callable[[], bool], progress: Callable[[int, int], None] | None, n_prompt: int, result: Result
) -> Callable[[int], None]:
    """A progress callback of the engine that ends the evaluation when the answer is not wanted any more."""

    def done(n: int) -> None:
        if progress is not None:
            progress(n, n_prompt - result.reused_tokens)
        if stopped():
            raise _Stopped

    return done


def _newly_said(said: list[int], begun: int, result: Result, reply: Reply, n_prompt: int) -> list[int]:
    """The tokens that came since the last call, added to what was said; the first ones come with the prompt's counts."""
    if len(said) == begun:
        reply.prompt_tokens += n_prompt - result.reused_tokens
        reply.reused_tokens += result.reused_tokens
    new = result.token_ids[len(said) - begun :]
    said += new
    reply.tokens += len(new)
    return new


def _add_timings(reply: Reply, result: Result) -> None:
    timings = result.timings
    reply.prompt_s += timings.prompt_s
    reply.decode_tokens += timings.decode_tokens
    reply.decode_s += timings.decode_s
