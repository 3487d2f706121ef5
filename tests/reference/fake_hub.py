"""A hub on the loopback interface that behaves, or misbehaves as it is told.

Serves what a client of the Hugging Face hub asks for: the commit of a revision, the tree of a commit, and files, large
ones by way of a redirect to another path, with ranges. `faults` changes how requests for contents end.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = 10_000
"""Files from this size on are stored apart, named by sha256, as with Git LFS."""


@lru_cache(maxsize=256)
def oid_of(content: bytes) -> str:
    """What the hub names a content by."""
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """One repository: its files now, and those of earlier commits."""

    files: dict[str, bytes] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    error: tuple[int, str] | None = None
    """Status and X-Error-Code of every request, for repositories that are closed."""

    def commit(self) -> str:
        """The name of what the files are now."""
        parts = sorted((path, oid_of(content)) for path, content in self.files.items())
        name = hashlib.sha1(json.dumps(parts).encode()).hexdigest()
        self.commits[name] = dict(self.files)
        return name


Fault = Callable[["Handler", bytes], bool]
"""Called before a content is sent; True if it has answered itself."""


class FakeHub:
    """Starts when it is made; `url` is what HF_ENDPOINT has to be."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults: list[Fault] = []
        """The first is used up by the next request for a content of a large file, and so on."""
        self.every: Fault | None = None
        """Used for each request for a content when `faults` is empty."""
        self.api_fault: Callable[[Handler], bool] | None = None
        self.ranges = True
        self.size_lie = 0
        """Added to sizes in listings."""
        self.bytes_per_s = 0.0
        """Of each connection; 0: as fast as it can."""
        self.page_size = 1000
        self.next_host = ""
        """The host that the next page of a listing is said to be on, if not this one."""
        self.log: list[tuple[str, str, str]] = []
        """Method, path and Range of every request."""
        self.tokens: list[tuple[str, str | None]] = []
        """Path and Authorization of every request."""
        handler = type("BoundHandler", (Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.storage_url = self.url.replace("127.0.0.1", "localhost")
        """Another host to clients, as the real hub's storage is: no token must get there."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def add(self, repo: str, **files: bytes) -> Repo:
        """A repository; `__` in a name stands for a dot."""
        self.repos[repo] = Repo({name.replace("__", "."): content for name, content in files.items()})
        return self.repos[repo]

    def contents_asked(self) -> list[str]:
        """The ranges of requests for contents of large files, in order."""
        return [span for _, path, span in self.log if path.startswith("/storage/")]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    hub: FakeHub
    protocol_version = "HTTP/1.1"
    _TREE = re.compile(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/?]+)")
    _FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")

    def do_GET(self) -> None:
        self.hub.log.append((self.command, self.path, self.headers.get("Range", "")))
        self.hub.tokens.append((self.path, self.headers.get("Authorization")))
        path = unquote(urlsplit(self.path).path)
        try:
            if path.startswith("/storage/"):
                self._content(self._stored(path.removeprefix("/storage/")))
            elif found := self._TREE.match(path):
                self._api(found[1], found[2], found[3])
            elif found := self._FILE.match(path):
                self._resolve(found[1], found[2], found[3])
            else:
                self.answer(404, b"{}")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test reads `hub.log`."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, b"", X_Error_Code=code)

    def _repo(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None:
            self.refuse(401, "RepoNotFound")
        elif repo.error is not None:
            self.refuse(*repo.error)
            return None
        return repo

    def _api(self, name: str, kind: str, revision: str) -> None:
        if self.hub.api_fault is not None and self.hub.api_fault(self):
            return
        repo = self._repo(name)
        if repo is None:
            return
        head = repo.commit()
        commit = head if revision == "main" else revision
        if commit not in repo.commits:
            self.refuse(404, "RevisionNotFound")
        elif kind == "revision":
            self._json({"id": name, "sha": commit})
        else:
            self._tree(repo.commits[commit])

    def _tree(self, files: dict[str, bytes]) -> None:
        entries: list[dict[str, Any]] = []
        for path, content in sorted(files.items()):
            size = len(content) + self.hub.size_lie
            entry: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": "0" * 40}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": oid_of(content), "size": size, "pointerSize": 134}
            else:
                entry["oid"] = oid_of(content)
            entries.append(entry)
        query = urlsplit(self.path).query
        start = int(query.partition("cursor=")[2] or 0)
        stop = start + self.hub.page_size
        extra = {}
        if stop < len(entries):
            base = urlsplit(self.path).path
            extra["Link"] = (
                f'<{self.hub.next_host or self.hub.url}{base}?recursive=true&cursor={stop}>; rel="next"'
            )
        self._json(entries[start:stop], **extra)

    def _json(self, value: Any, **headers: str) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def _resolve(self, name: str, commit: str, path: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        head = repo.commit()
        commit = head if commit == "main" else commit
        content = repo.commits.get(commit, {}).get(path)
        if content is None:
            self.refuse(404, "EntryNotFound")
        elif len(content) >= LARGE:
            oid = oid_of(content)
            location = f"{self.hub.storage_url}/storage/{name}/{oid}?signature=x"
            self.answer(
                302,
                b"",
                Location=location,
                X_Linked_Etag=f'"{oid}"',
                X_Linked_Size=str(len(content)),
                X_Repo_Commit=commit,
            )
        else:
            self.send_content(content, ETag=f'"{oid_of(content)}"', X_Repo_Commit=commit)

    def _stored(self, path: str) -> bytes:
        name, _, oid = path.rpartition("/")
        everything = [c for files in self.hub.repos[name].commits.values() for c in files.values()]
        return next(content for content in everything if oid_of(content) == oid)

    def _content(self, content: bytes) -> None:
        if len(content) >= LARGE:
            fault = self.hub.faults.pop(0) if self.hub.faults else self.hub.every
            if fault is not None and fault(self, content):
                return
        self.send_content(content)

    def send_content(self, content: bytes, cut: int | None = None, **headers: str) -> None:
        """The content or the range of it that was asked for; closes the connection after `cut` bytes."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop = 0, len(content)
        if found and self.hub.ranges:
            start, stop = int(found[1]), min(int(found[2]) + 1, len(content))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        else:
            self.send_response(200)
        for name, value in {"Content-Length": str(stop - start), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = memoryview(content)[start:stop]
        if cut is not None:
            body = body[:cut]
            self.close_connection = True
        self._send(body)

    def _send(self, body: memoryview) -> None:
        if not self.hub.bytes_per_s:
            self.wfile.write(body)
            return
        step = max(1024, int(self.hub.bytes_per_s / 20))
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            time.sleep(step / self.hub.bytes_per_s)


def cut_after(n_bytes: int) -> Fault:
    """Sends so many bytes, then closes the connection."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.send_content(content, cut=n_bytes)
        return True

    return fault


def corrupt(handler: Handler, content: bytes) -> bool:
    """One byte differs."""
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 1
    handler.send_content(bytes(damaged))
    return True


def longer(handler: Handler, content: bytes) -> bool:
    """More than there is."""
    handler.send_content(content + b"more")
    return True


def status(code: int, **headers: str) -> Fault:
    """An answer without content."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.answer(code, b"", **headers)
        return True

    return fault


def normal(handler: Handler, content: bytes) -> bool:
    """Nothing is wrong."""
    return False


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that are no two times the same."""
    import random

    return random.Random(seed).randbytes(size)


if __name__ == "__main__":  # For a look at it by hand: `python fake_hub.py REPO FILE... [--rate BYTES_PER_S]`
    import sys

    hub = FakeHub()
    args = sys.argv[1:]
    if "--rate" in args:
        at = args.index("--rate")
        hub.bytes_per_s = float(args[at + 1])
        del args[at : at + 2]
    hub.repos[args[0]] = Repo({os.path.basename(path): open(path, "rb").read() for path in args[1:]})  # noqa: SIM115
    print(hub.url, flush=True)
    threading.Event().wait()
