"""Reads turns, has them answered and shows the answers, until there are no more."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bitnet_cli.chat.conversation import Conversation, Reply
from bitnet_cli.chat.transcript import save
from bitnet_cli.cli.chat_input import ChatInput
from bitnet_cli.cli.chat_screen import Screen, bar, meter, quiet_terminal
from bitnet_cli.cli.explain import explain
from bitnet_cli.cli.output import out
from bitnet_cli.errors import BitnetError
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.library import BitNetModel


class Leave(Exception):
    """The person wants to leave."""


@dataclass(frozen=True)
class Models:
    """Where models come from."""

    find: Callable[[str], Path | None]
    """The file that a name stands for, fetched if need be."""
    load: Callable[[Path | None], BitNetModel]
    """The model in a file; None is the built-in one."""


class Chat:
    """One sitting.

    Args:
        conversation: what was said so far.
        screen: where answers go.
        models: finds and loads models.
        file: the model's; None for the built-in one.
        interactive: a person is there: errors are told and do not end the sitting.
        kept_in: a JSON file that always has the conversation; None for none.
    """

    def __init__(
        self,
        conversation: Conversation,
        screen: Screen,
        models: Models,
        file: Path | None,
        *,
        interactive: bool,
        kept_in: Path | None,
    ) -> None:
        self.conversation = conversation
        self.screen = screen
        self.interactive = interactive
        self.suggestion = ""
        """What the next line is to begin with."""
        self.edits = False
        """The next turn replaces the last one."""
        self._models, self._file = models, file
        self._kept_in = kept_in
        self._interrupted = False

    def run(self, source: ChatInput, perform: Callable[[Chat, str], None]) -> bool:
        """Goes on until the input ends; False if an answer to piped input was interrupted.

        Args:
            source: where turns come from.
            perform: does what a line that begins with a slash says.
        """
        while True:
            suggestion, self.suggestion = self.suggestion, ""
            try:
                text = source.read(suggestion)
            except EOFError:
                return True
            try:
                if text.startswith("/") and not text.startswith("//"):
                    self.edits = False
                    perform(self, text)
                elif text.strip():
                    self.say(text.removeprefix("/") if text.startswith("//") else text)
                elif self.edits:
                    self.edits = False
                    out.note("the turn stays as it was")
            except Leave:
                return True
            except Exception as error:
                explanation = explain(error)
                if not self.interactive or explanation is None or isinstance(error, BrokenPipeError):
                    raise
                out.error(explanation.message, explanation.hint)
            if self._interrupted and not self.interactive:
                out.note("interrupted")
                return False

    def say(self, text: str) -> None:
        """Has a turn answered, in place of the last one if that is being edited."""
        edits, self.edits = self.edits, False
        reply = Reply()
        with interruption() as stopped:
            progress = self.screen.progress
            if edits:
                stream = self.conversation.again(reply, text=text, stopped=stopped, progress=progress)
            else:
                stream = self.conversation.say(text, reply, stopped=stopped, progress=progress)
            self._show(stream, reply)
        if reply.finish_reason == "interrupted" and not reply.tokens and self.interactive:
            out.note("interrupted before the first word: the turn was taken back")
            self.suggestion, self.edits = text, edits

    def again(self) -> None:
        """Has the last turn answered anew."""
        reply = Reply()
        with interruption() as stopped:
            self._show(self.conversation.again(reply, stopped=stopped, progress=self.screen.progress), reply)
        if reply.finish_reason == "interrupted" and not reply.tokens:
            out.note("interrupted before the first word: the answer stays as it was")

    def keep(self) -> None:
        """Writes the conversation where the next sitting can take it up, if it is to be kept."""
        if self._kept_in is None or not self.conversation.turns:
            return
        try:
            self._kept_in.parent.mkdir(parents=True, exist_ok=True)
            save(self.conversation, self._kept_in, overwrite=True, private=True)
        except (OSError, BitnetError) as error:  # A convenience: the conversation goes on without it.
            explanation = explain(error)
            out.note(f"note: the conversation is not kept: {explanation.message if explanation else error}")
            self._kept_in = None

    def change_model(self, name: str) -> None:
        """Goes on with another model. The two are never in memory together.

        Raises:
            BitnetError, OSError: it cannot be had; the conversation goes on with the model that was there.
        """
        file, with_model = self._models.find(name), self.conversation.for_another_model()
        if file is not None:
            GGUFReader(file).close()  # A damaged file is refused before anything is given up.
        del self.conversation
        try:
            self.conversation = with_model(self._models.load(file))
            self._file = file
            return
        except (Exception, KeyboardInterrupt) as error:
            failure: BaseException = error
        # Frames that the error remembers would hold on to what was loaded of the other model.
        failure = failure.with_traceback(None)
        failure.__context__ = None
        try:
            self.conversation = with_model(self._models.load(self._file))
        except BaseException:
            self.interactive = False  # There is nothing left to go on with.
            raise
        raise failure

    def status(self, columns: int) -> str:
        """The line below the prompt: how full the context is, in so many columns."""
        conversation = self.conversation
        used, length = conversation.context_tokens, conversation.model.context_length
        if columns < 30:
            return f" context {100 * used // length} %"
        text = f" {meter(used, length)}"
        if columns >= 60:
            text = f" {bar(used, length)}{text}"
        if conversation.n_dropped:
            text += f" · {conversation.n_dropped} dropped"
        return text + " · /help" if columns >= 40 else text

    def _show(self, stream: Iterator[str], reply: Reply) -> None:
        told = 0
        self.screen.begin(reply, self.conversation.model.context_length)
        try:
            with quiet_terminal():
                try:
                    for piece in stream:
                        if reply.dropped_turns > told:
                            self._tell_dropped(reply.dropped_turns - told)
                            told = reply.dropped_turns
                        self.screen.piece(piece)
                finally:
                    self.screen.end()
        finally:
            self._interrupted = reply.finish_reason == "interrupted"
            self.keep()

    def _tell_dropped(self, n: int) -> None:
        turns = "the oldest turn was" if n == 1 else f"the {n} oldest turns were"
        self.screen.notice(f"the context is full: {turns} dropped from it; `/save` still has them")


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Inside the block Ctrl-C only makes the function that it gives return True; a third one breaks off at once."""
    count = 0

    def interrupted(*_: object) -> None:
        nonlocal count
        count += 1
        if count > 2:
            raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, interrupted)
    except ValueError:  # Not the main thread: nobody can interrupt it.
        yield lambda: False
        return
    try:
        yield lambda: count > 0
    finally:
        signal.signal(signal.SIGINT, before)


def state_folder() -> Path:
    """`bitnet` in the user's state directory, on Linux `~/.local/state`, which XDG_STATE_HOME may move."""
    import platformdirs

    return platformdirs.user_state_path("bitnet", appauthor=False)


def tell_format(conversation: Conversation) -> None:
    """Says it if a model was not made for talking, and what happens instead."""
    if not conversation.format.has_roles:
        out.note("note: this model has no chat template: it does not answer, it goes on with what you write")


def usable_state_folder() -> Path | None:
    """`state_folder()` if it can be written; else says why not, and None."""
    folder = state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        out.note(f"note: neither history nor conversation is kept: {folder}: {error.strerror}")
        return None
