"""Where things are: the folders and switches that all tools around the Hugging Face hub read from the environment.

The rules are those of the `huggingface_hub` package, written out because importing it takes a quarter of a second,
which `bitnet list` does not have.
"""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_ENDPOINT = "https://huggingface.co"
_TRUE = {"1", "ON", "YES", "TRUE"}


def hub_cache() -> Path:
    """The folder with one `models--ORG--NAME` per repository: HF_HUB_CACHE, or `hub` in HF_HOME."""
    chosen = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return _expanded(chosen) if chosen else _home() / "hub"


def converted_cache() -> Path:
    """The folder for GGUF files that were made here from downloaded checkpoints."""
    import platformdirs

    return platformdirs.user_cache_path("bitnet", appauthor=False) / "converted"


def endpoint() -> str:
    """The address of the hub, or of a mirror of it (HF_ENDPOINT), without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def is_offline() -> bool:
    """True if HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids the network."""
    return _is_true("HF_HUB_OFFLINE") or _is_true("TRANSFORMERS_OFFLINE")


def without_symlinks() -> bool:
    """True if HF_HUB_DISABLE_SYMLINKS asks for plain files in snapshots."""
    return _is_true("HF_HUB_DISABLE_SYMLINKS")


def timeout_s() -> float:
    """How long to wait for the hub to say anything (HF_HUB_DOWNLOAD_TIMEOUT), in seconds."""
    try:
        return max(1.0, float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT") or 10))
    except ValueError:
        return 10.0


def _home() -> Path:
    chosen = os.environ.get("HF_HOME")
    if chosen:
        return _expanded(chosen)
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(path)))


def _is_true(name: str) -> bool:
    return os.environ.get(name, "").upper() in _TRUE
