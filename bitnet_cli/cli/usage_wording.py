"""The command line parser's refusals in the words of this program: one sentence, literals in backticks, a hint."""

from __future__ import annotations

import difflib
import re

_RANGE = re.compile(r"(\S+) is not in the range (?:(\S+?)<=)?x(?:([<>])=(\S+))?")
_CHOICE = re.compile(r"'(.*)' is not one of (.*)", re.DOTALL)
_KIND = re.compile(r"'(.*)' is not a valid (int|float)(?: range)?", re.DOTALL)
_NOT_A_NUMBER = re.compile(r"(\S+) is not a number")


def reworded(message: str) -> tuple[str, str | None]:
    """A refusal of the parser as this program says it, and a hint if there is a better one than the help.

    Args:
        message: as the parser wrote it, without a final period; what is not known stays as it is.
    """
    if found := re.fullmatch(r"Invalid value for (.+?): (.*)", message, re.DOTALL):
        return value_refused(_names(found[1]), found[2]), None
    if found := re.fullmatch(r"Missing (option|argument) ('.+?')(?:\. Choose from:.*)?", message, re.DOTALL):
        name = _names(found[2])
        return f"the {found[1]} {name.upper() if found[1] == 'argument' else name} is missing", None
    if found := re.fullmatch(r"No such (option:|command) '?([^\s']+)'?(.*)", message, re.DOTALL):
        offered = re.findall(
            r"(?<![\w-])-{0,2}\w[\w-]*", found[3].partition(":" if "(" in found[3] else "ean")[2]
        )
        near = difflib.get_close_matches(found[2], offered, 1, 0)
        hint = f"did you mean `{near[0]}`?" if near else None
        return f"there is no {found[1].rstrip(':')} `{found[2]}`", hint
    if found := re.fullmatch(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", message, re.DOTALL):
        return f"nothing is expected after the other arguments, and there is `{found[1]}`", None
    if found := re.fullmatch(r"Option ('.+?') requires an argument", message):
        return f"{_names(found[1])} needs a value", None
    return message[:1].lower() + message[1:], None


def value_refused(name: str, reason: str) -> str:
    """The sentence about a value that an option or a setting does not take.

    Args:
        name: of the option or setting, in backticks.
        reason: the parser's, such as `'hot' is not a valid float`.
    """
    if found := _RANGE.fullmatch(reason):
        value, low, sign, bound = found.groups()
        if sign == ">":
            return f"{name} must be at least {_number(bound)}, not {_number(value)}"
        if low is not None and bound is not None:
            return f"{name} must be {_number(low)} to {_number(bound)}, not {_number(value)}"
    if found := _KIND.fullmatch(reason):
        return f"{name} takes a {'whole ' if found[2] == 'int' else ''}number, not `{found[1]}`"
    if found := _NOT_A_NUMBER.fullmatch(reason):
        return f"{name} takes a number, not `{found[1]}`"
    if found := _CHOICE.fullmatch(reason):
        choices = ", ".join(f"`{each}`" for each in re.findall(r"'(.*?)'", found[2]))
        return f"{name} takes one of {choices}, not `{found[1]}`"
    return f"{name}: {reason}"


def _names(text: str) -> str:
    """`'-c' / '--ctx-size'` becomes "`-c` (`--ctx-size`)"."""
    names = re.findall(r"'(.*?)'", text)
    if not names:
        return text
    if not names[0].startswith("-"):
        return str(names[0])
    return f"`{names[0]}`" + (f" (`{names[1]}`)" if len(names) > 1 else "")


def _number(text: str) -> str:
    return text.removesuffix(".0")
