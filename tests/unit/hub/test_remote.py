"""Every refusal is one sentence with a hint; listings are read to the last page and believed only if they make sense."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Callable
from typing import Any

import pytest
from fake_hub import FakeHub, Handler, noise

from bitnet_cli.errors import BitnetError, HubError, UsageError
from bitnet_cli.hub import remote
from bitnet_cli.hub.remote import Hub
from bitnet_cli.hub.selection import is_allowed

REPO = "org/model"
REFUSALS = {
    "no such repository": ((401, "RepoNotFound"), "there is no model `org/model`"),
    "gone": ((404, "RepoNotFound"), "there is no model `org/model`"),
    "gated, unknown": ((401, "GatedRepo"), "`org/model` is gated"),
    "gated, known": ((403, "GatedRepo"), "`org/model` is gated"),
    "no such revision": ((404, "RevisionNotFound"), "has no revision `main`"),
    "forbidden": ((403, ""), "does not let you read `org/model`"),
    "teapot": ((418, ""), "answered 418"),
    "limit": ((429, ""), "limits how often"),
    "trouble": ((500, ""), "has a problem \\(500\\)"),
    "overload": ((503, ""), "has a problem \\(503\\)"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(hub: FakeHub, name: str) -> None:
    answer, sentence = REFUSALS[name]
    hub.add(REPO).error = answer
    with pytest.raises(HubError, match=sentence) as caught:
        Hub("").listing(REPO)
    assert caught.value.hint and not caught.value.message.endswith(".")
    assert len(hub.log) == (remote.TRIES if answer[0] in (429, 500, 503) else 1)


def test_a_token_that_is_refused(hub: FakeHub) -> None:
    hub.add(REPO).error = (401, "RepoNotFound")
    with pytest.raises(HubError, match="token") as caught:
        Hub("hf_secret").listing(REPO)
    assert "hf_secret" not in caught.value.message + (caught.value.hint or "")


def test_a_gated_model_says_where_to_sign(hub: FakeHub) -> None:
    hub.add(REPO).error = (403, "GatedRepo")
    with pytest.raises(HubError) as caught:
        Hub("").listing(REPO)
    assert f"{hub.url}/org/model" in (caught.value.hint or "") and "HF_TOKEN" in (caught.value.hint or "")


def test_trouble_that_passes(hub: FakeHub) -> None:
    hub.add(REPO, config__json=b"{}")
    troubles = [502, 429]

    def fault(handler: Handler) -> bool:
        if troubles:
            handler.answer(troubles.pop(), b"")
            return True
        return False

    hub.api_fault = fault
    assert [file.path for file in Hub("").listing(REPO).files] == ["config.json"]


def test_all_pages(hub: FakeHub) -> None:
    repo = hub.add(REPO)
    repo.files = {f"{i:03}.json": b"%d" % i for i in range(25)}
    hub.page_size = 10
    assert [file.path for file in Hub("").listing(REPO).files] == sorted(repo.files)


@pytest.mark.parametrize("host", ["localhost", "[", "127.0.0.1:1", "127.0.0.1@localhost"])
def test_the_token_does_not_follow_to_another_host(hub: FakeHub, host: str) -> None:
    repo = hub.add(REPO)
    repo.files = {f"{i:03}.json": b"%d" % i for i in range(25)}
    hub.page_size, hub.next_host = 10, hub.url.replace("127.0.0.1", host)
    with pytest.raises(HubError):
        Hub("hf_secret").listing(REPO)
    assert len(hub.log) == 2, "the commit and the first page"


def test_listings_end(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = hub.add(REPO)
    repo.files = {f"{i:03}.json": b"%d" % i for i in range(25)}
    hub.page_size = 5
    monkeypatch.setattr(remote, "MAX_PAGES", 3)
    with pytest.raises(HubError):
        Hub("").listing(REPO)


def test_a_file_that_is_a_folder(hub: FakeHub) -> None:
    hub.add(REPO).files = {"a.json": b"1", "a.json/b.json": b"2"}
    with pytest.raises(HubError):
        Hub("").listing(REPO)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("model.safetensors", True),
        ("1_Pooling/config.json", True),
        (".vscode/settings.json", False),
        (".gitattributes.json", False),
        ("a/.cache/x.json", False),
        ("aux.json", False),
        ("COM1", False),
        ("a /b.json", False),
        ("a./b.json", False),
        ("x.py", False),
    ],
)
def test_kinds_of_files(path: str, allowed: bool) -> None:
    assert is_allowed(path) is allowed


NONSENSE: dict[str, Callable[[Handler], None]] = {
    "no json": lambda h: h.answer(200, b"<html>Log in</html>"),
    "a list": lambda h: h.answer(200, b"[]"),
    "no commit": lambda h: h.answer(200, b"{}"),
    "a path for a commit": lambda h: h.answer(200, b'{"sha": "../../x"}'),
    "deep": lambda h: h.answer(200, b"[" * 200_000),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_something_else_answers(hub: FakeHub, name: str) -> None:
    hub.api_fault = lambda handler: NONSENSE[name](handler) is None
    with pytest.raises(HubError, match="does not answer like a hub"):
        Hub("").listing(REPO)


@pytest.mark.parametrize(
    "path", ["../x.json", "/etc/x.json", "a/../b.json", "a\\b.json", "a\nb.json", "C:x.json", "a//b"]
)
def test_paths_that_lead_elsewhere(hub: FakeHub, path: str) -> None:
    hub.add(REPO).files = {path: b"{}"}
    with pytest.raises(HubError, match="impossible name"):
        Hub("").listing(REPO)


@pytest.mark.parametrize("field", [{"size": -1}, {"size": "7"}, {"size": True}, {"oid": "x"}, {"oid": None}])
def test_entries_that_make_no_sense(field: dict[str, Any]) -> None:
    from bitnet_cli.hub.selection import remote_file

    entry = {"path": "a.json", "size": 1, "oid": "0" * 40} | field
    with pytest.raises(HubError, match="makes no sense"):
        remote_file(entry["path"], entry["size"], entry["oid"])


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    told: list[str] = []
    monkeypatch.setattr(remote, "TRIES", 2)
    with pytest.raises(HubError, match=r"127\.0\.0\.1 cannot be reached") as caught:
        Hub("", told.append).listing(REPO)
    assert "proxy" in (caught.value.hint or "")


def test_a_certificate_that_cannot_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    import httpx2

    error = httpx2.ConnectError(
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
    )
    error.__cause__ = ssl.SSLCertVerificationError()
    found = remote._unreachable(error, "https://hub.example")
    assert found.message.startswith("the certificate of hub.example cannot be trusted") and not found.passing
    assert "SSL_CERT_FILE" in (found.hint or "")


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://x", "http://", "http://[x", "http://x:99999"])
def test_endpoints_that_are_none(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        Hub()


def test_offline_asks_nobody(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        Hub()
    assert hub.log == []


def test_a_proxy_is_used(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session

    hub.add(REPO, config__json=b"{}")
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    close_session()  # The connection pool reads the environment when it is made.
    try:
        assert Hub("").listing(REPO).files[0].path == "config.json"
    finally:
        close_session()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("HTTP_PROXY", "nonsense://x", "the proxy cannot be used"),
        ("HTTP_PROXY", "socks5://127.0.0.1:1", "the proxy cannot be used"),
        ("SSL_CERT_FILE", "/nonexistent", "the file of trusted certificates is not there"),
    ],
)
def test_settings_of_the_network_that_cannot_be_used(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    from huggingface_hub import close_session

    if value.startswith("socks5") and importlib.util.find_spec("socksio") is not None:
        pytest.skip("SOCKS proxies can be used here")
    monkeypatch.setenv(variable, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    close_session()
    try:
        with pytest.raises(HubError, match=sentence) as caught:
            Hub("").listing(REPO)
        assert not caught.value.passing and variable in (caught.value.hint or "")
    finally:
        close_session()


def test_the_host_that_cannot_be_reached_is_named(hub: FakeHub) -> None:
    """Behind some firewalls the hub answers, and the storage that it redirects to does not."""
    hub.add(REPO, model__safetensors=noise(50_000))
    hub.storage_url = "http://storage.invalid"
    listing = Hub("").listing(REPO)
    with (
        pytest.raises(HubError, match=r"storage\.invalid cannot be reached"),
        Hub("").piece(REPO, listing.commit, listing.files[0], 0, 50_000),
    ):
        pass


def test_a_small_file_is_read_at_once(hub: FakeHub) -> None:
    hub.add(REPO, config__json=b'{"a": 1}', model__safetensors=noise(50_000))
    client = Hub("")
    listing = client.listing(REPO)
    contents = {f.path: client.content(REPO, listing.commit, f, 1000) for f in listing.files}
    assert contents == {"config.json": b'{"a": 1}', "model.safetensors": None}


def test_a_bad_token_is_told_before_it_is_sent(hub: FakeHub) -> None:
    with pytest.raises(BitnetError, match="token"):
        Hub("hf_\nX: y").listing(REPO)
    assert hub.log == []
