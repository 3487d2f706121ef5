"""The checks, one function each; every one returns what it found and never fails."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bitnet_cli import __version__
from bitnet_cli.bench.host import this_host
from bitnet_cli.bench.roofline import measure
from bitnet_cli.doctor.finding import Finding
from bitnet_cli.doctor.self_check import is_proven, logits
from bitnet_cli.engine.calibration import cache_file
from bitnet_cli.errors import BitnetError
from bitnet_cli.formats.codecs import TERNARY_TYPES
from bitnet_cli.formats.gguf_reader import GGUFReader
from bitnet_cli.hub import folders
from bitnet_cli.hub.cache import cached_repos
from bitnet_cli.hub.catalogue import CATALOGUE
from bitnet_cli.hub.estimate import estimate_of, memory_bytes
from bitnet_cli.machine import memory, processors
from bitnet_cli.native import Context, isas, physical_cores
from bitnet_cli.native.processor import cpu_name
from bitnet_cli.text.repairs import repair

LIBRARIES = ("numpy", "cffi", "tokenizers", "jinja2", "huggingface_hub", "rich", "typer", "prompt_toolkit")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_FULL_BYTES = 2_000_000_000
"""Less room than this on a disk is worth a word."""
_2B = CATALOGUE["2b"]


def all_findings(say: Callable[[str], None], *, quick: bool = False) -> Iterator[Finding]:
    """Runs all checks.

    Args:
        say: told what is being done, before it is done.
        quick: measure nothing.
    """
    say("processor")
    yield from processor()
    say("kernels")
    yield from kernels()
    yield from memory_findings()
    if not quick:
        say("speed")
        yield from speed()
    say("folders")
    yield from disk_folders()
    yield from cached_models()
    yield from versions()


def processor() -> Iterator[Finding]:
    total, allowed = processors()
    cores = physical_cores()
    yield Finding("processor", "CPU", cpu_name())
    text = f"{cores} core{'s' if cores > 1 else ''} will be used; {allowed} of {total} processors are allowed"
    if allowed < total:
        yield Finding(
            "processor", "cores", text, "note", "an affinity (taskset, a container) hides the others"
        )
    elif cores * 2 < total:
        yield Finding(
            "processor",
            "cores",
            text,
            "note",
            "a container's quota leaves fewer than there are; `-t N` uses others",
        )
    else:
        yield Finding("processor", "cores", text)


def kernels() -> Iterator[Finding]:
    """Each instruction set that this CPU has, proven against plain C."""
    expected = logits("scalar")
    for isa in isas():
        if isa.name == "scalar":
            continue
        if not isa.supported:
            yield Finding("kernels", isa.name, "this CPU does not have it", "absent")
        elif is_proven(isa.name, expected):
            yield Finding("kernels", isa.name, "proven: the same bits as plain C")
        else:
            yield Finding(
                "kernels", isa.name, "computes other bits than plain C", "problem",
                "set BITNET_ISA=scalar, and report this with your CPU's name",
            )  # fmt: skip
    best = Context().isa
    if best == "scalar":
        yield Finding(
            "kernels", "used", "plain C, which is slow", "note", "CPUs with AVX2 or NEON are 10 times faster"
        )
    else:
        yield Finding("kernels", "used", best)


def memory_findings() -> Iterator[Finding]:
    found = memory()
    if found is None:
        yield Finding("memory", "memory", "the system does not tell", "note")
    else:
        limit = ", a container's limit" if found.limited else ""
        text = f"{_gb(found.free)} free of {_gb(found.total)}{limit}"
        fitting = [
            e.name for e in CATALOGUE.values() if e.sizes is not None and memory_bytes(e.sizes) < found.free
        ]
        too_large = [
            e.name for e in CATALOGUE.values() if e.sizes is not None and memory_bytes(e.sizes) >= found.free
        ]
        is_little = _2B.name in too_large
        yield Finding(
            "memory", "memory", text, "note" if is_little else "ok",
            "close other programs: the 2B model does not fit" if is_little else None,
        )  # fmt: skip
        if too_large:
            yield Finding("memory", "models", f"{', '.join(too_large)} do not fit now", "note")
        else:
            yield Finding("memory", "models", f"all {len(fitting)} of the catalogue whose size is known fit")
    try:
        choice = _HUGE_PAGES.read_text(encoding="ascii")
    except (OSError, ValueError):
        return
    chosen = choice[choice.find("[") + 1 : choice.find("]")]
    if chosen == "never":
        yield Finding(
            "memory", "huge pages", "never", "note",
            "`echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled` gains 10 to 20 %",
        )  # fmt: skip
    else:
        yield Finding("memory", "huge pages", chosen)


def speed() -> Iterator[Finding]:
    """What the machine gives, and what that makes of the 2B model."""
    ctx = Context(None, min(physical_cores(), 256))
    try:
        found = measure(ctx)
    except BitnetError as error:
        yield Finding("speed", "bandwidth", f"not measured: {error.message}", "note", error.hint)
        return
    yield Finding("speed", "bandwidth", f"{found.bandwidth_gbps:.1f} GB/s read by {ctx.n_threads} threads")
    yield Finding("speed", "int8", f"{found.int8_gmacs:.0f} GMAC/s")
    assert _2B.sizes is not None
    rate = estimate_of(_2B.sizes).tokens_per_s(found.bandwidth_gbps)
    yield Finding("speed", "2b", f"about {rate:.0f} tokens a second; `bitnet bench -m 2b` measures it")


def disk_folders() -> Iterator[Finding]:
    state = cache_file()
    places = {"hub cache": folders.hub_cache(), "conversions": folders.converted_cache()}
    if state is not None:
        places["calibration"] = state.parent
    for name, path in places.items():
        yield _folder(name, path)
    if folders.is_offline():
        yield Finding(
            "folders", "network", "switched off by HF_HUB_OFFLINE", "note", "unset it to download models"
        )


def cached_models() -> Iterator[Finding]:
    """GGUF files of the hub's cache that are damaged, or ternary with known faults, repaired when they are loaded."""
    for cache in cached_repos():
        for snapshot in cache.snapshots():
            for file in snapshot.files:
                if file.path.endswith(".gguf"):
                    yield from _cached_model(f"{cache.repo}/{file.path}", file.local)


def _cached_model(name: str, path: Path) -> Iterator[Finding]:
    try:
        with GGUFReader(path) as reader:
            is_ours = any(info.type in TERNARY_TYPES for info in reader.tensors.values())
            _, notes = repair(reader.metadata) if is_ours else (None, [])
    except (BitnetError, OSError) as error:
        yield Finding(
            "folders", "models", f"{name}: {error}", "problem",
            "`bitnet verify-cache` checks it against the hub's digest; `bitnet rm` removes it",
        )  # fmt: skip
        return
    if notes:
        text = f"{name}: {len(notes)} known fault{'s' if len(notes) > 1 else ''}, repaired when it is loaded"
        yield Finding(
            "folders", "models", text, "note", "`bitnet convert` of it keeps the repairs, for other programs"
        )


def _folder(name: str, path: Path) -> Finding:
    """A folder that need not be there, but must be possible to write."""
    there = path
    while not os.path.lexists(there) and there != there.parent:  # `Path.exists` may raise.
        there = there.parent
    if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            "folders", name, f"{path} cannot be written", "problem",
            "HF_HOME moves the hub's cache, XDG_CACHE_HOME the others",
        )  # fmt: skip
    free = shutil.disk_usage(there).free
    used = f", holds {_gb(_size(path))}" if there == path else ", not there yet"
    if free < _FULL_BYTES:
        return Finding(
            "folders", name, f"{path}{used}; {_gb(free)} free", "note",
            "`bitnet list` shows what could go, `bitnet rm NAME` removes it",
        )  # fmt: skip
    return Finding("folders", name, f"{path}{used}; {_gb(free)} free")


def _size(path: Path) -> int:
    """Bytes of all files below a folder; links count nothing, nor does what goes meanwhile."""
    total = 0
    for root, _, files in os.walk(path):
        for file in files:
            with suppress(OSError):
                status = os.lstat(os.path.join(root, file))
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


def versions() -> Iterator[Finding]:
    host = this_host()
    commit = f", commit {host.commit}" if host.commit else ""
    yield Finding("versions", "bitnet", f"{__version__}{commit}, {host.compiler}")
    yield Finding("versions", "Python", f"{platform.python_version()}, {sys.executable}")
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Finding("versions", name, "not installed", "problem", f"`pip install {name}`")
    yield Finding("versions", "libraries", ", ".join(found))


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 5e7 else f"{n_bytes / 1e6:.1f} MB"
