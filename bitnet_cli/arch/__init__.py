"""Model families by their GGUF `general.architecture`, as data: one module each, found with `arch_for`."""

from __future__ import annotations

from dataclasses import replace

from bitnet_cli.arch import bitnet, bitnet_b1_58, gemma3, llama, qwen3
from bitnet_cli.arch.architecture import Arch
from bitnet_cli.errors import UnsupportedError, printable

__all__ = ["ARCHS", "Arch", "arch_for"]

ARCHS = (bitnet_b1_58.ARCH, bitnet.ARCH, llama.ARCH, qwen3.ARCH, gemma3.ARCH)


def arch_for(name: str) -> Arch:
    """The architecture called `name` in a file; its `name` is that very word, also if it is an alias.

    Raises:
        UnsupportedError: there is none; the message lists what there is.
    """
    for arch in ARCHS:
        if name == arch.name or name in arch.aliases:
            return replace(arch, name=name)
    known = ", ".join(f"`{arch.name}`" for arch in ARCHS)
    raise UnsupportedError(
        f"models of architecture `{printable(name)}` are not supported",
        hint=f"supported are {known}",
    )
