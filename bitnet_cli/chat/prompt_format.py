"""A conversation into the token ids of a prompt: through the model's template, or as one text if it has none.

Answers that have ids keep them: encoding what a model said anew may give other ids, and then everything that it holds in its
cache from there on is lost. What people say, system text included, is always text and never becomes a control token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bitnet_cli.chat.turn import Turn
from bitnet_cli.errors import UsageError
from bitnet_cli.library import BitNetModel
from bitnet_cli.text.chat_template import ChatTemplate
from bitnet_cli.text.tokenizer import Part, Tokenizer


class PromptFormat(Protocol):
    """How a conversation is told to a model."""

    has_roles: bool
    """Whether the model is told who says what. Otherwise there is but one text that both write on."""

    def encode(self, system: str, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a conversation. If its last turn has no answer, the model is about to give it.

        Raises:
            UsageError: there is a system text, but no place for it.
            BitnetError: the model's template refuses the conversation.
        """


def prompt_format(model: BitNetModel) -> PromptFormat:
    """The way in which a model wants to be talked to."""
    if model.chat_template is not None:
        return TemplateFormat(model.chat_template)
    return TextFormat(model.tokenizer)


class TemplateFormat:
    """Messages in the template of a chat model."""

    has_roles = True

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    def encode(self, system: str, turns: Sequence[Turn]) -> list[int]:
        """As `PromptFormat.encode`."""
        messages = [{"role": "system", "content": system}] if system else []
        kept: dict[int, tuple[int, ...]] = {}
        for turn in turns:
            messages.append({"role": "user", "content": turn.user})
            if turn.answer is not None:
                if turn.ids is not None:
                    kept[len(messages)] = turn.ids
                messages.append({"role": "assistant", "content": turn.answer})
        begins = bool(turns) and turns[-1].answer is None
        return self._template.encode(messages, add_generation_prompt=begins, kept=kept)


class TextFormat:
    """One text that person and model continue in turn, for models that were not made for talking."""

    has_roles = False

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def encode(self, system: str, turns: Sequence[Turn]) -> list[int]:
        """As `PromptFormat.encode`. Words of different turns are kept apart by a space."""
        if system:
            raise UsageError(
                "a system text cannot be used: this model has no chat template",
                hint="say it in the text instead",
            )
        parts: list[Part] = []
        before = ""
        for turn in turns:
            apart = before and not before[-1].isspace() and not turn.user[:1].isspace()
            parts.append(f" {turn.user}" if apart else turn.user)
            if turn.answer is not None:
                parts.append(turn.answer if turn.ids is None else turn.ids)
            before = turn.answer or turn.user
        return self._tokenizer.encode_parts(parts)
