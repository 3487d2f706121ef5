"""Messages into the token ids that a chat model was tuned on.

A template is a program that prints the whole conversation as one text, control tokens included. That text cannot
simply be encoded with control tokens parsed: a message that contains `<|eot_id|>` would end its own turn. Nor can
template and messages be encoded apart: a word may merge with the space that the template puts before it. So the
text is rendered, the control tokens that the *template* wrote are found in it, and each stretch between them is
encoded whole, as plain text.

Which control tokens are the template's is settled before rendering. In the messages, the first character of
whatever is spelled like a control token is replaced by a stand-in, a private-use character that occurs nowhere
else; after rendering the stand-ins are turned back. Trimming, capitalising and comparing see one ordinary character
for another. A control token could still come about from pieces (a template that joins two messages, deletes
characters or changes their case). Against that the conversation is rendered a second time with every character of
the messages except white space replaced: no control token in it can be made of a message. Only if both texts have
the same control tokens is the first one used, otherwise the second.

What the model itself said is better not encoded again: it may have divided its words otherwise than the encoder does, and
then all that it remembers of them is lost. So the ids that it generated can be given for a message; `kept_ids.py` says how
they get to their place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bitnet_cli.errors import FormatError, UsageError, printable
from bitnet_cli.text.kept_ids import Marked, opening, split_at_markers
from bitnet_cli.text.tokenizer import Part, Tokenizer

if TYPE_CHECKING:
    from bitnet_cli.text.template_sandbox import BoundedTemplate

KEY = "tokenizer.chat_template"
ROLES = frozenset(("system", "user", "assistant", "tool", "developer", "function"))

# The template of BitNet b1.58 2B-4T, exactly as its tokenizer_config.json has it.
BITNET_2B4T = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] |"
    " capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}"
)
_END_OF_TURN = "<|eot_id|>"
_BITNET_BEGIN = "Assistant: "

Message = Mapping[str, str]
_PRIVATE_USE = range(0x10FFFD, 0xF0000, -1)


class ChatTemplate:
    """The chat format of one model."""

    def __init__(self, source: str, tokenizer: Tokenizer) -> None:
        """`source` is not compiled before it is needed."""
        self.source = source
        self._tokenizer = tokenizer
        self._compiled: BoundedTemplate | None = None

    @classmethod
    def from_metadata(cls, meta: Mapping[str, object], tokenizer: Tokenizer) -> ChatTemplate | None:
        """The template that a model file carries, or None if it has none, or one that says nothing.

        Raises:
            FormatError: the metadata value is not a text.
        """
        source = meta.get(KEY)
        if source is None:
            return None
        if not isinstance(source, str):
            raise FormatError(f"a string is expected, but {type(source).__name__} was found", tensor=KEY)
        return cls(source, tokenizer) if source.strip() else None

    def encode(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        kept: Mapping[int, Sequence[int]] | None = None,
    ) -> list[int]:
        """Token ids of a conversation, beginning with BOS once if the model wants it.

        Args:
            messages: each with a `role` (one of ROLES), a `content` and perhaps a `name`.
            add_generation_prompt: whether the assistant's next turn is begun.
            kept: the ids that messages have already, by the message's index; they stand in the result as they are, unless
                the template shows one of these messages otherwise than it was said.

        Raises:
            UsageError: a message is not of that form.
            FormatError, BitnetError: the template fails or refuses these messages.
        """
        _check(messages)
        kept = kept or {}
        if self.source == BITNET_2B4T:
            return self._tokenizer.encode_parts(self._bitnet_parts(messages, add_generation_prompt, kept))
        taken = set(self.source) | self._tokenizer.control_characters()
        marked = Marked(messages, kept, taken) if kept else None
        if marked is None or not self._shows_as_said(messages, marked, add_generation_prompt):
            return self._tokenizer.encode_parts(self._parts(messages, add_generation_prompt, taken))
        parts = self._parts(marked.messages, add_generation_prompt, taken, marked.markers)
        first = min(kept)
        begun = self._parts(messages[:first], True, taken) if add_generation_prompt else []
        return self._tokenizer.encode_parts(split_at_markers(parts, marked, opening(begun)))

    def _parts(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool,
        taken: set[str],
        markers: Sequence[str] = (),
    ) -> list[Part]:
        """The rendered text as stretches and the control tokens of the template between them; markers stay in place."""
        control = self._tokenizer.find_control
        careful = _Disguise(messages, taken, lambda text: [begin for begin, _, _ in control(text)])
        untouched = frozenset(markers)
        blind = _Disguise(
            messages,
            taken,
            lambda text: [i for i, c in enumerate(text) if not c.isspace() and c not in untouched],
        )
        text = self._rendered(careful.messages, add_generation_prompt)
        certain = self._rendered(blind.messages, add_generation_prompt)
        disguise = careful
        if [found[2] for found in control(text)] != [found[2] for found in control(certain)]:
            text, disguise = certain, blind
        return [
            part if isinstance(part, int) else disguise.removed_from(part)
            for part in self._tokenizer.split_control(text)
        ]

    def _shows_as_said(
        self, messages: Sequence[Message], marked: Marked, add_generation_prompt: bool
    ) -> bool:
        """Whether each marked message comes out as it is, once and in order, white space around it aside.

        Templates of models that think aloud, for example, leave the thoughts of earlier turns out.
        """
        stripped = [{**message, "content": message["content"].strip()} for message in messages]
        text = self._rendered(marked.messages, add_generation_prompt)
        if [c for c in text if c in marked.markers] != marked.markers:
            return False
        said = {ord(m): stripped[i]["content"] for m, i in zip(marked.markers, marked.places, strict=True)}
        others = [
            old if i not in marked.places else new
            for i, (old, new) in enumerate(zip(messages, stripped, strict=True))
        ]
        return text.translate(said) == self._rendered(others, add_generation_prompt)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """The conversation as text, control tokens spelled out; for reading, not for encoding."""
        _check(messages)
        if self.source != BITNET_2B4T:
            return self._rendered(messages, add_generation_prompt)
        turns = "".join(_bitnet_turn(message) + _END_OF_TURN for message in messages)
        return turns + _BITNET_BEGIN if add_generation_prompt else turns

    def _bitnet_parts(
        self, messages: Sequence[Message], add_generation_prompt: bool, kept: Mapping[int, Sequence[int]]
    ) -> list[Part]:
        """What BITNET_2B4T prints, with the id of the token that ends a turn and kept ids in their places."""
        end = self._tokenizer.control_id(_END_OF_TURN)
        parts: list[Part] = []
        # Turns and ends alternate, so an end is known by its place whatever the turns say.
        for n, message in enumerate(messages):
            if n in kept:
                parts += [_bitnet_opening(message), tuple(kept[n])]
            else:
                parts.append(_bitnet_turn(message))
            parts.append(_END_OF_TURN if end is None else end)
        if add_generation_prompt:
            parts.append(_BITNET_BEGIN)
        return _joined(parts)

    def _rendered(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        if self._compiled is None:
            # jinja2 takes a while to import, and the usual model does not need it.
            from bitnet_cli.text.template_sandbox import BoundedTemplate

            self._compiled = BoundedTemplate(self.source)
        variables: dict[str, object] = {
            "messages": [dict(message) for message in messages],
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **self._tokenizer.special_texts(),
        }
        return self._compiled.render(variables)


class _Disguise:
    """Messages with some characters replaced by stand-ins.

    Args:
        messages: the messages; their roles stay as they are.
        taken: characters that stand-ins must not be, beside those of the messages.
        places: gives the indices of the characters of a text that are to be replaced.
    """

    def __init__(
        self, messages: Sequence[Message], taken: set[str], places: Callable[[str], list[int]]
    ) -> None:
        taken = taken.union(*(text for message in messages for text in message.values()))
        self._free = (chr(code) for code in _PRIVATE_USE if chr(code) not in taken)
        self._stand_ins: dict[str, str] = {}
        self._places = places
        self.messages = [
            {key: text if key == "role" else self._replaced(text) for key, text in message.items()}
            for message in messages
        ]
        self._originals = str.maketrans({stand_in: c for c, stand_in in self._stand_ins.items()})

    def removed_from(self, text: str) -> str:
        """`text` with the characters that the stand-ins stand for."""
        return text.translate(self._originals)

    def _replaced(self, text: str) -> str:
        characters = list(text)
        for place in self._places(text):
            characters[place] = self._stand_in(characters[place])
        return "".join(characters)

    def _stand_in(self, character: str) -> str:
        if character not in self._stand_ins:
            stand_in = next(self._free, None)
            if stand_in is None:
                raise UsageError(
                    "the messages have too many different characters",
                    hint="shorten them, or begin a new conversation",
                )
            self._stand_ins[character] = stand_in
        return self._stand_ins[character]


def _bitnet_opening(message: Message) -> str:
    return f"{message['role'].capitalize()}: "


def _bitnet_turn(message: Message) -> str:
    return _bitnet_opening(message) + message["content"].strip()


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Parts with neighbouring strings made one."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _check(messages: Sequence[Message]) -> None:
    """Roles must be known, since templates may make control tokens of them, and the rest must be texts."""
    for n, message in enumerate(messages):
        for key in ("role", "content"):
            if not isinstance(message, Mapping) or key not in message:
                raise UsageError(
                    f"message {n} has no `{key}`",
                    hint='a message is such as `{"role": "user", "content": "Hello"}`',
                )
        for key, text in message.items():
            if key not in ("role", "content", "name"):
                raise UsageError(
                    f"message {n} has the unknown key `{printable(str(key))}`",
                    hint="a message has a `role` and a `content`",
                )
            if not isinstance(text, str):
                raise UsageError(
                    f"the `{key}` of message {n} is not a text",
                    hint='a message is such as `{"role": "user", "content": "Hello"}`',
                )
        if message["role"] not in ROLES:
            raise UsageError(
                f"message {n} has the unknown role `{printable(message['role'])}`",
                hint=f"roles are {', '.join(sorted(ROLES))}",
            )
