"""Talks to the hub: which files a repository has, and pieces of them; every refusal becomes one sentence.

The connection (proxies, certificates, keep-alive) and the token are those of the `huggingface_hub` package, so what works
for `hf download` works here. A token goes to the hub only, never to the storage that the hub redirects to. Nothing but
the requests needed is sent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from bitnet_cli.errors import HubError, UsageError, printable
from bitnet_cli.hub import folders
from bitnet_cli.hub.patience import Patience
from bitnet_cli.hub.selection import RemoteFile, remote_file

if TYPE_CHECKING:
    import httpx2

TRIES = 3
"""For questions; downloads are more patient."""
LIST_LIMIT = 32 << 20
"""Bytes of one answer that are read, at most."""
CHUNK_BYTES = 1 << 18
MAX_PAGES, MAX_FILES = 1000, 100_000
"""Of a listing; a hub that goes on has lost its way."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class NoRanges(Exception):
    """The server sends whole files only."""


@dataclass(frozen=True)
class Listing:
    """A repository at one commit."""

    repo: str
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]


class Hub:
    """A hub, as one user sees it.

    Args:
        token: None for HF_TOKEN or the token that `hf auth login` stored.
        tell: called with a sentence whenever a request has to be repeated after a pause.
    """

    def __init__(self, token: str | None = None, tell: Callable[[str], None] | None = None) -> None:
        self.endpoint = folders.endpoint()
        if not _origin(self.endpoint):
            raise UsageError(
                f"HF_ENDPOINT is not a web address: `{printable(self.endpoint)}`",
                hint="it begins with https://",
            )
        if folders.is_offline():
            raise HubError(
                "the network is switched off by HF_HUB_OFFLINE",
                hint="unset it to download; `bitnet list` shows what is here already",
            )
        self._token = token
        self._tell = tell

    def listing(self, repo: str, revision: str | None = None) -> Listing:
        """The commit that a revision stands for now, and its files.

        Raises:
            HubError: no such repository or revision, no permission, no connection.
        """
        asked = revision or "main"
        subject = _Subject(repo, asked)
        base = f"{self.endpoint}/api/models/{repo}"
        info, _ = self._json(f"{base}/revision/{quote(asked, safe='')}", subject)
        commit = info.get("sha") if isinstance(info, dict) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise _nonsense(self.endpoint)
        files: dict[str, RemoteFile] = {}
        url: str | None = f"{base}/tree/{commit}?recursive=true&expand=false"
        for _ in range(MAX_PAGES):
            if url is None:
                break
            if _origin(url) != _origin(base):  # The token goes with it, to the hub only.
                raise _nonsense(self.endpoint)
            page, url = self._json(url, subject)
            if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
                raise _nonsense(self.endpoint)
            for item in page:
                if item.get("type") == "file":
                    lfs = item.get("lfs") if isinstance(item.get("lfs"), dict) else item
                    file = remote_file(item.get("path"), lfs.get("size"), lfs.get("oid"))
                    files[file.path] = file
        folders_of_files = {str(parent) for path in files for parent in PurePosixPath(path).parents}
        if url is not None or len(files) > MAX_FILES or folders_of_files & set(files):
            raise _nonsense(self.endpoint)
        return Listing(repo, asked, commit, tuple(files.values()))

    def content(self, repo: str, commit: str, file: RemoteFile, limit_bytes: int) -> bytes | None:
        """A small file, unchecked; None if it is larger than the limit."""
        if file.size > limit_bytes:
            return None
        with self.piece(repo, commit, file, 0, file.size) as chunks:
            return b"".join(chunks)

    @contextmanager
    def piece(
        self, repo: str, commit: str, file: RemoteFile, start: int, stop: int
    ) -> Iterator[Iterator[bytes]]:
        """Bytes start..stop of a file as they arrive.

        Raises:
            HubError: refused, cut, or not the size that the hub has listed; `passing` tells what may help.
            NoRanges: the server sent the whole file where a part was asked for.
        """
        url = f"{self.endpoint}/{repo}/resolve/{commit}/{quote(file.path)}"
        headers = {"accept-encoding": "identity"}
        whole = start == 0 and stop == file.size
        if not whole:
            headers["range"] = f"bytes={start}-{stop - 1}"
        with self._response(url, _Subject(repo, commit, file.path), headers) as response:
            if not whole and response.status_code != 206:
                raise NoRanges
            _check_size(response, file, start)
            yield _chunks(response, file, stop - start)

    def _json(self, url: str, subject: _Subject) -> tuple[Any, str | None]:
        """What the hub answers, and the address of the next page if there is one."""
        patience = Patience(TRIES, tell=self._tell)
        while True:
            try:
                with self._response(url, subject, {}) as response:
                    body = b""
                    for chunk in _guarded(response.iter_bytes(CHUNK_BYTES), self.endpoint):
                        body += chunk
                        if len(body) > LIST_LIMIT:
                            raise _nonsense(self.endpoint)
                    following = response.links.get("next", {}).get("url")
                return json.loads(body), following
            except HubError as error:
                patience.wait(error)
            except (ValueError, RecursionError):
                raise _nonsense(self.endpoint) from None

    @contextmanager
    def _response(self, url: str, subject: _Subject, headers: dict[str, str]) -> Iterator[httpx2.Response]:
        """A successful answer, its body not yet read."""
        import httpx2
        from huggingface_hub import get_session

        headers = {"user-agent": "bitnet", **headers}
        token = self._credentials()
        if token:
            headers["authorization"] = f"Bearer {token}"
        with (
            ExitStack() as stack
        ):  # What is raised while the answer is read must not be taken for a failure to connect.
            try:
                response = stack.enter_context(
                    get_session().stream(
                        "GET", url, headers=headers, timeout=folders.timeout_s(), follow_redirects=True
                    )
                )
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, ImportError) as error:
                raise _unreachable(error, self.endpoint) from None
            if response.status_code not in (200, 206):
                raise refusal(response, subject, self.endpoint, has_token=bool(token))
            yield response

    def _credentials(self) -> str | None:
        if self._token is None:
            from huggingface_hub import get_token

            implicit = os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper()
            self._token = "" if implicit in ("1", "ON", "YES", "TRUE") else get_token() or ""
        token = self._token.strip()
        if token and not (token.isascii() and token.isprintable()):
            raise UsageError(
                "the token holds characters that no token has", hint="check HF_TOKEN or `--token`"
            )
        return token


@dataclass(frozen=True)
class _Subject:
    """What a request is about, for messages."""

    repo: str
    revision: str
    file: str | None = None


def _chunks(response: httpx2.Response, file: RemoteFile, wanted: int) -> Iterator[bytes]:
    """The body, exactly as long as promised.

    Raises:
        HubError: it is longer; or shorter, which passes.
    """
    received = 0
    for chunk in _guarded(response.iter_raw(CHUNK_BYTES), response.url.host):
        received += len(chunk)
        if received > wanted:
            raise _other_size(file, "more")
        yield chunk
    if received < wanted:
        raise HubError(f"the connection was cut while `{file.path}` arrived", passing=True)


def _guarded(chunks: Iterator[bytes], host: str) -> Iterator[bytes]:
    """The same chunks; what goes wrong below becomes a HubError."""
    import httpx2

    try:
        yield from chunks
    except httpx2.HTTPError as error:
        raise _unreachable(error, host) from None


def _check_size(response: httpx2.Response, file: RemoteFile, start: int) -> None:
    """Compares what the headers say about the size with the hub's listing."""
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("content-range", "").strip())
        if found is None or int(found[1]) != start:
            raise NoRanges
        if int(found[2]) != file.size:
            raise _other_size(file, found[2])
    elif response.headers.get("content-encoding", "identity") == "identity":
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) != file.size:
            raise _other_size(file, length)


def _other_size(file: RemoteFile, found: str) -> HubError:
    return HubError(
        f"`{file.path}` has {file.size} bytes according to the hub, but {found} are sent",
        hint="the file may just be changing, or a proxy interferes: try again later",
    )


def _nonsense(endpoint: str) -> HubError:
    return HubError(
        f"{printable(endpoint)} does not answer like a hub",
        hint="check HF_ENDPOINT; a proxy or a login page may answer in its place",
    )


def refusal(response: httpx2.Response, subject: _Subject, endpoint: str, *, has_token: bool) -> HubError:
    """The error that an answer other than success stands for."""
    repo, code, status = subject.repo, response.headers.get("x-error-code"), response.status_code
    page = f"{endpoint}/{repo}"
    if code == "GatedRepo":
        doing = "ask for access at" if has_token else "accept its terms at"
        signing = "" if has_token else ", then sign in with `hf auth login` or set HF_TOKEN"
        return HubError(
            f"`{repo}` is gated: its owners decide who may download it", hint=f"{doing} {page}{signing}"
        )
    if code == "RevisionNotFound":
        return HubError(
            f"`{repo}` has no revision `{printable(subject.revision)}`",
            hint=f"{page}/tree/main shows its branches",
        )
    if code == "EntryNotFound":
        return HubError(
            f"`{repo}` has no file `{printable(subject.file or '')}`",
            hint="`bitnet download NAME --dry-run` lists its files",
        )
    if status == 429:
        wait_s = _retry_after(response)
        after = f" in {wait_s:.0f} s" if wait_s else " in some minutes"
        hint = f"try again{after}" + ("" if has_token else "; with a token (HF_TOKEN) the limit is higher")
        return HubError("the hub limits how often it is asked (429)", hint=hint, passing=True, wait_s=wait_s)
    # The hub redirects to addresses that hold for a while: the next one will do again.
    if status in (408, 425) or status >= 500 or (status == 403 and response.history):
        hint = "try again later; what has arrived is kept"
        return HubError(
            f"the hub has a problem ({status})", hint=hint, passing=True, wait_s=_retry_after(response)
        )
    if code == "RepoNotFound" or status in (401, 404):
        hint = (
            "check the spelling; a private one needs a token with access to it (HF_TOKEN or `hf auth login`)"
        )
        if status == 401 and has_token:
            return HubError(
                f"the hub does not accept the token for `{repo}` (401)",
                hint="check HF_TOKEN or `--token`, or sign in anew with `hf auth login`",
            )
        return HubError(f"there is no model `{repo}` on the hub that you may see", hint=hint)
    if status == 403:
        return HubError(f"the hub does not let you read `{repo}` (403)", hint=f"{page} says who may")
    if status == 416:
        return HubError(f"`{subject.file}` is shorter than the hub says", hint="try again later")
    return HubError(f"the hub answered {status} for `{repo}`", hint="check HF_ENDPOINT and the proxies")


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds that the hub asks to wait: `Retry-After` in seconds or as a date, or its own `ratelimit`."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value[:9])
    if value:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            return None
    found = re.search(r"r=0;\s*t=(\d{1,9})", response.headers.get("ratelimit", ""))
    return float(found[1]) if found else None


def _origin(url: str) -> tuple[str, str] | None:
    """Scheme and host with port; None if it is not the address of a web page."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return (parts.scheme, parts.netloc) if is_web else None


def _unreachable(error: Exception, where: str) -> HubError:
    """What a failure of the network means.

    Args:
        where: the address or host that was asked; what the error says of itself, after a redirect, comes first.
    """
    import httpx2

    if isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.UnsupportedProtocol):
        with suppress(RuntimeError):  # It has no request if it was not made by one.
            where = str(error.request.url)
    host = printable(urlsplit(where).hostname or where)
    reason = printable(str(error) or type(error).__name__)
    if isinstance(error, FileNotFoundError):
        return HubError(
            "the file of trusted certificates is not there", hint="check SSL_CERT_FILE and SSL_CERT_DIR"
        )
    reason = re.sub(r"^\[(Errno|SSL)[^]]*\] | \(_ssl\.c:\d+\)$", "", reason)
    if "CERTIFICATE" in reason.upper() or "certificate" in repr(error.__cause__):
        return HubError(
            f"the certificate of {host} cannot be trusted: {reason}",
            hint="check the clock; behind a company's proxy, name its certificates with SSL_CERT_FILE",
        )
    kind = type(error).__name__
    if kind in ("RemoteProtocolError", "ReadError"):
        return HubError(
            f"the connection to {host} was cut", hint="try again: what has arrived is kept", passing=True
        )
    if "Timeout" in kind:
        reason = "no answer in time"
    if kind in ("ImportError", "ValueError"):
        return HubError(
            f"the proxy cannot be used: {reason}",
            hint="check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY; one for SOCKS needs `pip install socksio`",
        )
    if kind in ("UnsupportedProtocol", "InvalidURL", "TooManyRedirects", "UnicodeError"):
        return HubError(f"{host} sends to an address that cannot be used: {reason}", hint="check HF_ENDPOINT")
    return HubError(
        f"{host} cannot be reached: {reason}",
        hint="check the connection and the proxy (HTTPS_PROXY); HF_ENDPOINT can name a mirror",
        passing=True,
    )
