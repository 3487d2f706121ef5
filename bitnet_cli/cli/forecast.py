"""What is said before a download: how big it is, whether it fits into memory, about how fast it will run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitnet_cli.cli.sizes import size_text

if TYPE_CHECKING:
    from bitnet_cli.hub.catalogue import Entry
    from bitnet_cli.hub.remote import Hub
    from bitnet_cli.hub.resolve import Wanted

PROBE_BYTES = 1 << 28
"""Read to learn the machine's bandwidth: more than caches hold, and over in a fraction of a second."""


@dataclass(frozen=True)
class Forecast:
    """What is known of a model before it is here."""

    memory_bytes: int | None = None
    fits: bool | None = None
    free_bytes: int | None = None
    tokens_per_s: float | None = None

    def sentences(self) -> list[str]:
        """For people; none if nothing is known."""
        if self.memory_bytes is None:
            return []
        text = f"needs about {size_text(self.memory_bytes)} of memory"
        if self.fits is not None and self.free_bytes is not None:
            text += ", which fits" if self.fits else ", more than is free"
            text += f" ({size_text(self.free_bytes)} free)"
        if self.tokens_per_s is None:
            return [text]
        rate = f"{self.tokens_per_s:.0f}" if self.tokens_per_s >= 2 else f"{self.tokens_per_s:.1f}"
        return [text, f"will generate about {rate} tokens a second here"]

    def to_json(self) -> dict[str, Any]:
        return {
            "memory_bytes": self.memory_bytes,
            "fits_memory": self.fits,
            "tokens_per_s": None if self.tokens_per_s is None else round(self.tokens_per_s, 1),
        }


def forecast(hub: Hub, wanted: Wanted, entry: Entry | None) -> Forecast:
    """Works out what can be known of a model: from the catalogue, its config.json, or the size of its file."""
    from bitnet_cli.hub.estimate import estimate
    from bitnet_cli.machine import memory

    found = estimate(wanted, entry.sizes if entry is not None and entry.sizes else _asked_sizes(hub, wanted))
    if found is None:
        return Forecast()
    machine = memory()
    return Forecast(
        found.memory_bytes,
        found.memory_bytes < machine.free if machine is not None else None,
        machine.free if machine is not None else None,
        found.tokens_per_s(_bandwidth_gbps()),
    )


def _asked_sizes(hub: Hub, wanted: Wanted) -> Any:
    from bitnet_cli.errors import HubError
    from bitnet_cli.hub.estimate import sizes_of

    config = next((file for file in wanted.files if file.path == "config.json"), None)
    if config is None or wanted.kind != "checkpoint":
        return None
    try:
        content = hub.content(wanted.listing.repo, wanted.listing.commit, config, 1 << 20)
    except HubError:  # The download itself will say it, if it stays so.
        return None
    return sizes_of(content) if content else None


def _bandwidth_gbps() -> float:
    """10⁹ bytes a second that all cores read together, measured now."""
    from bitnet_cli.native import Context, physical_cores
    from bitnet_cli.native.timing import memory_bandwidth

    return memory_bandwidth(Context(None, min(physical_cores(), 256)), PROBE_BYTES)
