"""`bitnet`: ternary (1.58-bit) language models on ordinary CPUs.

>>> from bitnet_cli import BitNetModel, GenerationConfig
>>> model = BitNetModel.from_pretrained()
>>> model.generate("Once upon a time", max_new_tokens=40)

Names are loaded when they are first used, so that importing the package costs and changes nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bitnet_cli.errors import BitnetError

if TYPE_CHECKING:
    from bitnet_cli.library import BitNetModel, GenerationConfig, Result

__all__ = ["BitNetModel", "BitnetError", "GenerationConfig", "Result", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in ("BitNetModel", "GenerationConfig", "Result"):
        return getattr(import_module("bitnet_cli.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
