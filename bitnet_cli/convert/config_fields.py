"""A JSON object whose values are asked for with their type and range; what is wrong is an error that names its key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitnet_cli.arch.limits import MAX_COUNT
from bitnet_cli.errors import FormatError, printable


class Fields:
    """A JSON object; `prefix` stands before its keys in messages. Every method but `has` raises FormatError."""

    def __init__(self, values: Mapping[str, Any], path: Path, prefix: str = "") -> None:
        self.values, self.path, self.prefix = values, path, prefix

    def error(self, key: str, message: str) -> FormatError:
        return FormatError(message, path=self.path, tensor=self.prefix + key)

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def size(self, key: str, limit: int = MAX_COUNT) -> int:
        value = self.values.get(key)
        if value is None:
            raise self.error(key, "the key is missing")
        if type(value) is not int or not 1 <= value <= limit:
            raise self.error(key, f"an integer from 1 to {limit} was expected, found {shown(value)}")
        return value

    def positive(self, key: str) -> float:
        value = self.values.get(key)
        if value is None:
            raise self.error(key, "the key is missing")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise self.error(key, f"a positive number was expected, found {shown(value)}")
        if value > 1e30:
            raise self.error(key, f"{shown(value)} is out of range")
        return float(value)

    def number(self, key: str, low: float, high: float) -> float:
        """A number that is in the range also as a float32, which is what the file will hold."""
        value = self.positive(key)
        if not low <= float(np.float32(value)) <= high:
            raise self.error(key, f"a number from {low:g} to {high:g} was expected, found {shown(value)}")
        return value

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.error(key, f"true or false was expected, found {shown(value)}")
        return value

    def word(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(key, f"a string was expected, found {shown(value)}")
        return value

    def group(self, key: str) -> Fields | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.error(key, f"an object was expected, found {shown(value)}")
        return Fields(value, self.path, f"{self.prefix}{key}.")


def shown(value: object) -> str:
    """A value in a few characters, safe to print."""
    return printable(repr(value), 40)
