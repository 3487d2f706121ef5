"""`bitnet list`: the models on this machine, or those there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitnet_cli.cli.options import JsonOpt
from bitnet_cli.cli.output import out
from bitnet_cli.cli.sizes import size_text

if TYPE_CHECKING:
    from bitnet_cli.hub.cache import RepoCache
    from bitnet_cli.hub.catalogue import Entry


def list_models(
    remote: Annotated[bool, typer.Option("--remote", help="Show the catalogue instead.")] = False,
    json: JsonOpt = False,
) -> None:
    """List the models on this machine.

    Shows what is in the Hugging Face cache, which other tools share, and what was converted from it. With --remote the
    catalogue of short names; sizes in it are worked out from the models' shapes.

    Examples:

      bitnet list

      bitnet list --remote
    """
    rows = _catalogue() if remote else _cached()
    if json:
        out.json(rows)
    elif remote:
        _show_catalogue(rows)
    else:
        _show_cached(rows)


def _cached() -> list[dict[str, Any]]:
    from bitnet_cli.hub.cache import cached_repos
    from bitnet_cli.hub.converted import converted_models

    short = _short_names()
    found = [_repo_row(cache, short.get(cache.repo)) for cache in cached_repos()]
    found += [
        {
            "repo": made.repo,
            "name": short.get(made.repo),
            "kind": "converted",
            "size": made.size,
            "path": str(made.path),
            "revisions": [{"commit": made.commit, "refs": [], "files": [made.path.name]}],
            "unfinished": 0,
        }
        for made in converted_models()
    ]
    return sorted(found, key=lambda row: (str(row["repo"]).lower(), str(row["kind"])))


def _repo_row(cache: RepoCache, name: str | None) -> dict[str, Any]:
    snapshots = cache.snapshots()
    paths = {file.path.lower() for snapshot in snapshots for file in snapshot.files}
    kinds = [
        kind for kind, ending in (("gguf", ".gguf"), ("checkpoint", ".safetensors")) if _ends(paths, ending)
    ]
    return {
        "repo": cache.repo,
        "name": name,
        "kind": "+".join(kinds) or "other",
        "size": cache.size_bytes(snapshots),
        "path": str(cache.folder),
        "revisions": [
            {
                "commit": snapshot.commit,
                "refs": list(snapshot.refs),
                "files": [file.path for file in snapshot.files],
            }
            for snapshot in snapshots
        ],
        "unfinished": sum(1 for path in cache.parts() if path.suffix in (".part", ".incomplete")),
    }


def _ends(paths: set[str], ending: str) -> bool:
    return any(path.endswith(ending) for path in paths)


def _short_names() -> dict[str, str]:
    """Short names by repository."""
    from bitnet_cli.hub.catalogue import CATALOGUE

    names = {entry.gguf_repo: entry.name for entry in CATALOGUE.values() if entry.gguf_repo}
    return names | {entry.repo: entry.name for entry in CATALOGUE.values()}


def _show_cached(rows: list[dict[str, Any]]) -> None:
    from bitnet_cli.hub import folders

    if not rows:
        out.note(f"no models in {folders.hub_cache()}: `bitnet list --remote` shows what there is")
        return
    table = []
    for row in rows:
        revisions = ", ".join("/".join(r["refs"]) or r["commit"][:7] for r in row["revisions"]) or "-"
        state = f"{row['unfinished']} unfinished" if row["unfinished"] else ""
        table.append((row["repo"], row["kind"], size_text(row["size"]), revisions, state))
    out.table("", ("model", "kind", "size", "revision", ""), table)
    total = size_text(sum(row["size"] for row in rows))
    out.note(f"{total} in {folders.hub_cache()} and {folders.converted_cache()}")


def _catalogue() -> list[dict[str, Any]]:
    from bitnet_cli.hub.catalogue import CATALOGUE

    return [_catalogue_row(entry) for entry in CATALOGUE.values()]


def _catalogue_row(entry: Entry) -> dict[str, Any]:
    from bitnet_cli.hub.estimate import memory_bytes

    return {
        "name": entry.name,
        "about": entry.about,
        "repo": entry.repo,
        "gguf_repo": entry.gguf_repo,
        "gguf_file": entry.gguf_file,
        "download_bytes": entry.download_bytes,
        "memory_bytes": memory_bytes(entry.sizes) if entry.sizes is not None else None,
        "licence": entry.licence,
        "tested": entry.tested,
    }


def _show_catalogue(rows: list[dict[str, Any]]) -> None:
    def about(n_bytes: int | None) -> str:
        return size_text(n_bytes) if n_bytes is not None else "?"

    columns = ("name", "download", "memory", "licence", "tested", "what it is")
    out.table(
        "",
        columns,
        [
            (
                r["name"],
                about(r["download_bytes"]),
                about(r["memory_bytes"]),
                r["licence"],
                r["tested"],
                r["about"],
            )
            for r in rows
        ],
    )
    out.note(
        "sizes are about right and follow from the models' shapes; ? is known once the hub is asked (`--dry-run`). "
        "tested: `format` by small random models, `shape` by random weights of the real shape; none with these weights"
    )
