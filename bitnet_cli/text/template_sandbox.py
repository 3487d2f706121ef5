"""Runs chat templates that come from model files: jinja2, sandboxed, and bounded in time and memory.

jinja2's sandbox keeps a template away from Python's internals, but lets it loop for hours and build strings of
gigabytes. Here whatever makes a value counts it against a budget, whatever can repeat looks at a clock, and what
chat templates never use (padding to a width, %-formatting, recursive loops …) is not offered at all. What is
offered renders as `transformers` renders it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from bitnet_cli.errors import BitnetError, FormatError, printable
from bitnet_cli.text.template_budget import MAX_INT_BITS, Budget, LimitError, check_number, data

MAX_SOURCE_CHARS = 1 << 17
_MAX_DIGITS = 20
_MAX_SEPARATORS = 16

_KEY = "tokenizer.chat_template"
_WITHOUT = "`bitnet run --raw` goes on with a text without the template"
_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "indent", "int", "items"),
    *("join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace"),
    *("reverse", "round", "safe", "select", "selectattr", "sort", "string", "sum", "title", "trim", "unique"),
    "upper",
)
_STR_METHODS = (
    *("capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii"),
    *("isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "join", "lower"),
    *("lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition"),
    *("rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper"),
)
# Attributes of Python's own types that a template may ask for.
_ATTRIBUTES: tuple[tuple[tuple[type, ...], tuple[str, ...]], ...] = (
    ((str,), _STR_METHODS),
    ((dict,), ("get", "items", "keys", "values")),
    ((list, tuple), ("count", "index")),
    ((int, float, bytes, range, type(None)), ()),
)


class RefusalError(Exception):
    """The template itself says that it cannot render these messages."""


class _BoundedCode(CodeGenerator):
    """Compiles expressions so that the environment sees the values they make and the time they take."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concatenated((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def _counted(self, visit: Callable[[Any, Frame], None], node: nodes.Node, frame: Frame) -> None:
        self.write("environment.budget.value(")
        visit(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self._counted(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self._counted(super().visit_Dict, node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        self._counted(super().visit_Compare, node, frame)

    def visit_Test(self, node: nodes.Test, frame: Frame) -> None:
        self._counted(super().visit_Test, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "load":
            self._counted(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if isinstance(node.arg, nodes.Slice):
            self._counted(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)


class _GenerationTag(Extension):
    """`{% generation %}`, with which templates mark the assistant's words; it prints what it encloses."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The environment of one template; `budget` is renewed for each rendering."""

    code_generator_class = _BoundedCode
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        self.budget = Budget()
        self.text_chars = 0
        """Of the text between the template's tags, any of which a macro may print."""
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            # Folding constants would make values while compiling.
            optimized=False,
            finalize=lambda value: self.budget.value(data(value)),
            extensions=(_GenerationTag, LoopControlExtension),
        )
        self.filters = {name: self._bounded_filter(name, FILTERS[name]) for name in _FILTERS}
        self.filters |= {"tojson": self._tojson, "_turns": self._turns}
        self.globals = {name: self.globals[name] for name in ("range", "dict", "namespace")}
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        size, fit = self.budget.size, self.budget.fit
        if operator == "+":
            fit(size(left) + size(right))
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, str | list | tuple) and isinstance(times, int):
                    fit(size(many) * times)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            check_number(1 << min(left.bit_length() * abs(right), 2 * MAX_INT_BITS))
        elif operator == "%" and not isinstance(left, int | float):
            raise SecurityError("%-formatting is not offered")
        return self.budget.value(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        __self.budget.charge(__self.text_chars if isinstance(__obj, Macro | BlockReference) else 1)
        text = getattr(__obj, "__self__", None)
        if isinstance(text, str) and __obj.__name__ == "replace":
            __self._fit_replaced(text, *args[:2])
        elif isinstance(text, str) and __obj.__name__ == "join":
            args = tuple(__self._fit_joined(text, parts) for parts in args)
        return __self.budget.value(super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kinds, attributes in _ATTRIBUTES:
            if isinstance(obj, kinds):
                return attr in attributes
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """str.format is not offered; see is_safe_attribute."""
        return None

    def concatenated(self, parts: tuple[Any, ...]) -> str:
        """The operator `~`."""
        self.budget.fit(sum(self.budget.size(data(part)) for part in parts))
        text: str = self.budget.value("".join(map(str, parts)))
        return text

    def _turns(self, iterable: Iterable[Any], text_chars: int) -> Iterator[Any]:
        """Goes through what a loop goes through; each turn may print the text between the loop's tags."""
        for item in iterable:
            self.budget.charge(1 + text_chars)
            yield item

    def _bounded_filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter of jinja2 whose result is counted, and refused beforehand where it would be large."""
        # Some filters are given the context or the environment before the value.
        at = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            given, value, options = args[:at], args[at], args[at + 1 :]

            def option(place: int, key: str, default: Any) -> Any:
                return options[place] if place < len(options) else kwargs.get(key, default)

            if any(isinstance(arg, Namespace) for arg in (value, *options, *kwargs.values())):
                raise SecurityError(f"a namespace cannot be given to the filter `{name}`")
            if name == "replace":
                self._fit_replaced(str(value), option(0, "old", ""), option(1, "new", ""))
            elif name == "join":
                value = self._fit_joined(str(option(0, "d", "")), value)
            elif name == "indent":
                self._fit_indented(str(value), option(0, "width", 4))
            elif name == "round" and not 0 <= option(0, "precision", 0) <= _MAX_DIGITS:
                raise LimitError("it rounds to too many digits")
            elif name == "sum" and not isinstance(option(1, "start", 0), int | float):
                raise SecurityError("only numbers can be summed")
            return self.budget.value(function(*given, value, *options, **kwargs))

        return bounded

    def _fit_replaced(self, text: str, old: Any, new: Any) -> None:
        self.budget.fit(len(text) + text.count(str(old)) * len(str(new)))

    def _fit_joined(self, separator: str, parts: Any) -> list[Any]:
        """Returns the parts, which may have been an iterator."""
        listed = list(parts)
        self.budget.fit(self.budget.size(listed) + len(listed) * len(separator))
        return listed

    def _fit_indented(self, text: str, width: Any) -> None:
        size = len(width) if isinstance(width, str) else int(width)
        self.budget.fit(len(text) + (text.count("\n") + 1) * size)

    def _tojson(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """JSON as `transformers` writes it in templates: not escaped for HTML."""
        if not isinstance(indent, int | None) or len("".join(separators or ())) > _MAX_SEPARATORS:
            raise SecurityError("that form of JSON is not offered")
        self.budget.fit(self.budget.size(data(value)) + _indentation(value, indent or 0))
        text = json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )
        return str(self.budget.value(text))


def _indentation(value: object, indent: int, depth: int = 1) -> int:
    """Characters that indenting adds to the JSON of a value whose size is known to be bounded."""
    parts: Iterable[object] = ()
    if isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    return indent * depth + sum(1 + indent * depth + _indentation(part, indent, depth + 1) for part in parts)


def _raise_exception(message: object) -> None:
    raise RefusalError(str(data(message)))


def _strftime_now(form: str) -> str:
    """The local date and time, for templates that tell the model what day it is. Widths are not offered."""
    if len(form) > 200 or any(character.isdigit() for character in form):
        raise SecurityError("that date format is not offered")
    return datetime.now().strftime(form)


class BoundedTemplate:
    """A compiled template; may be rendered from several threads."""

    def __init__(self, source: str) -> None:
        """Compiles.

        Raises:
            FormatError: the source is too long or not a template that can be used.
        """
        if len(source) > MAX_SOURCE_CHARS:
            raise FormatError(
                f"the chat template has {len(source)} characters, more than {MAX_SOURCE_CHARS}",
                tensor=_KEY,
                hint=_WITHOUT,
            )
        self._lock = threading.Lock()
        self._environment = BoundedEnvironment()
        try:
            tree = self._environment.parse(source)
            for loop in tree.find_all(nodes.For):
                _count_turns(loop)
            self._environment.text_chars = _text_chars(tree)
            self._template = self._environment.from_string(tree)
        except Exception as error:  # jinja2's own errors, and Python's for code that is nested too deep.
            raise FormatError(
                f"the chat template is not valid: {_one_line(error)}", tensor=_KEY, hint=_WITHOUT
            ) from None

    def render(self, variables: dict[str, object]) -> str:
        """The text that the template makes of its variables.

        Raises:
            BitnetError: the template refuses these messages.
            FormatError: it fails, or wants more than the limits above.
        """
        parts: list[str] = []
        with self._lock:
            self._environment.budget = budget = Budget()
            try:
                for part in self._template.generate(variables):
                    budget.charge(len(part))
                    parts.append(part)
            except RefusalError as error:
                raise BitnetError(
                    f"the chat template refuses these messages: {_one_line(error)}",
                    hint=f"some take no system text; {_WITHOUT}",
                ) from None
            except LimitError as error:
                raise FormatError(
                    f"the chat template was stopped: {error}", tensor=_KEY, hint=_WITHOUT
                ) from None
            except Exception as error:  # Anything may go wrong in foreign code.
                raise FormatError(
                    f"the chat template fails: {_one_line(error)}", tensor=_KEY, hint=_WITHOUT
                ) from None
        return "".join(parts)


def _count_turns(loop: nodes.For) -> None:
    """Has the turns of a loop counted, together with the text that each may print."""
    if loop.recursive:
        raise LimitError("recursive loops are not offered")
    args: list[nodes.Expr] = [nodes.Const(_text_chars(loop))]
    loop.iter = nodes.Filter(loop.iter, "_turns", args, [], None, None, lineno=loop.lineno)


def _text_chars(node: nodes.Node) -> int:
    return sum(len(data.data) for data in node.find_all(nodes.TemplateData))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return printable(text, 200).rstrip(".")
