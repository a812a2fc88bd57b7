"""The store against a real S3 server."""

from __future__ import annotations

import hashlib
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.answering_s3 import answering
from support.faulty_s3 import Fault, faulty
from support.plain_s3 import PlainS3
from support.plain_s3 import serving as plain_s3
from support.s3 import S3
from tunecast_core.errors import (
    AccessDeniedError,
    DigestMismatchError,
    MalformedError,
    NotFoundError,
    StoreError,
    StoreUnavailableError,
)
from tunecast_core.records.manifest import Archive
from tunecast_core.store.breaker import Breaker
from tunecast_core.store.bucket import Store
from tunecast_core.store.objects import RANGE
from tunecast_core.store.retry import Retries
from tunecast_core.trust.settings import StoreSettings

pytestmark = pytest.mark.integration
IMPATIENT = Retries(tries=3, first=0.01, most=0.01)


@pytest.fixture
def store(s3_credentials: S3, request: pytest.FixtureRequest) -> Iterator[Store]:
    with closing(Store(s3_credentials.settings(prefix=request.node.name), retries=IMPATIENT)) as found:
        yield found


def manifest_of(settings: StoreSettings) -> bytes | None:
    with closing(Store(settings, retries=IMPATIENT)) as store:
        return store.get_manifest("models", "key", "gpu", "signer")


def archive(data: bytes) -> Archive:
    return Archive("Triton", hashlib.sha256(data).hexdigest(), len(data), 0, 1)


def stage(store: Store, data: bytes, name: str = "archives/Triton", job: str = "uid-1") -> None:
    url = store.presign_puts("models", "key", job, [name], 60)[name]
    request = urllib.request.Request(url, data, {"Content-Type": ""}, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("GET", {}),
        ("DELETE", {}),
        ("PUT", {"archives/Triton": "archives/CUDA"}),
        ("PUT", {"uid-1": "uid-2"}),
        ("PUT", {"staging": "manifests"}),
        ("PUT", {"/models/": "/others/"}),
    ],
)
def test_a_presigned_url_writes_its_one_object_and_does_nothing_else(
    store: Store, method: str, change: dict[str, str]
) -> None:
    stage(store, b"data")
    url = store.presign_puts("models", "key", "uid-1", ["archives/Triton"], 60)["archives/Triton"]
    for old, new in change.items():
        assert old in url
        url = url.replace(old, new)
    request = urllib.request.Request(url, b"evil" if method == "PUT" else None, {"Content-Type": ""}, method=method)
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(request, timeout=10)
    refused.value.close()
    assert store.read_staged("models", "key", "uid-1", "archives/Triton", 9) == b"data"


def test_the_first_manifest_of_a_signer_stays(store: Store) -> None:
    assert store.get_manifest("models", "key", "gpu", "signer") is None
    assert store.put_manifest("models", "key", "gpu", "signer", b"first")
    assert not store.put_manifest("models", "key", "gpu", "signer", b"second")
    assert store.get_manifest("models", "key", "gpu", "signer") == b"first"
    assert store.put_manifest("models", "key", "gpu", "another", b"third")
    assert store.put_manifest("models", "key", "other-gpu", "signer", b"fourth")
    assert store.list_manifests("models", "key") == [("gpu", "another"), ("gpu", "signer"), ("other-gpu", "signer")]
    assert store.list_manifests("models", "ke") == []


@pytest.mark.parametrize("size", [1, RANGE - 1, RANGE, RANGE + 1, 3 * RANGE + 17])
def test_what_was_published_is_downloaded(store: Store, tmp_path: Path, size: int) -> None:
    data = bytes(i % 251 for i in range(size % 1021)) + bytes(size - size % 1021)
    stage(store, data)
    store.publish("models", "key", "uid-1", "archives/Triton", archive(data))
    assert store.blob_exists("models", archive(data).digest, size)
    store.download("models", [(archive(data), tmp_path / "blob")])
    assert (tmp_path / "blob").read_bytes() == data


def test_publishing_again_is_safe(store: Store) -> None:
    stage(store, b"data")
    store.publish("models", "key", "uid-1", "archives/Triton", archive(b"data"))
    store.delete_staged("models", "key", "uid-1")
    store.publish("models", "key", "uid-1", "archives/Triton", archive(b"data"))
    assert store.blob_exists("models", archive(b"data").digest, 4)


@pytest.mark.parametrize("staged", [b"dat4", b"longer data", b""])
def test_what_was_staged_must_be_what_was_promised(store: Store, staged: bytes) -> None:
    stage(store, staged)
    with pytest.raises(DigestMismatchError):
        store.publish("models", "key", "uid-1", "archives/Triton", archive(b"data"))
    assert not store.blob_exists("models", archive(b"data").digest, 4)


def test_a_swap_between_hashing_and_copying_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    swap_after_hashing(store, monkeypatch)
    with pytest.raises(DigestMismatchError, match="replaced after it was hashed"):
        store.publish("models", "key", "uid-1", "archives/Triton", archive(b"good"))
    assert not store.blob_exists("models", archive(b"good").digest, 4)


def swap_after_hashing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages an object, and replaces it right after it was hashed."""
    stage(store, b"good")
    hashed = store._objects.hash_archive

    def swapped(name: str, expected: Archive, *inspect: Any) -> str:
        tag = hashed(name, expected, *inspect)
        stage(store, b"evil")
        return tag

    monkeypatch.setattr(store._objects, "hash_archive", swapped)


def test_nothing_staged_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.publish("models", "key", "uid-1", "archives/Triton", archive(b"data"))


def test_staged_objects_of_one_attempt(store: Store) -> None:
    stage(store, b"12345", "progress.json", "uid-1")
    stage(store, b"123", "results/0.json", "uid-1")
    stage(store, b"1", "progress.json", "uid-11")
    assert store.staged("models", "key", "uid-1") == {"progress.json": 5, "results/0.json": 3}
    assert store.staged_attempts("models") == [("key", "uid-1"), ("key", "uid-11")]
    assert store.read_staged("models", "key", "uid-1", "progress.json", 5) == b"12345"
    assert store.read_staged("models", "key", "uid-1", "results/1.json", 5) is None
    with pytest.raises(MalformedError):
        store.read_staged("models", "key", "uid-1", "progress.json", 4)
    store.delete_staged("models", "key", "uid-1")
    assert store.staged("models", "key", "uid-1") == {}
    assert store.staged_attempts("models") == [("key", "uid-11")]


def test_a_blob_of_another_size_is_refused(store: Store, tmp_path: Path) -> None:
    stage(store, b"data")
    store.publish("models", "key", "uid-1", "archives/Triton", archive(b"data"))
    longer = Archive("Triton", archive(b"data").digest, 5, 0, 1)
    assert not store.blob_exists("models", longer.digest, 5)
    with pytest.raises(DigestMismatchError):
        store.download("models", [(longer, tmp_path / "blob")])


def test_a_missing_blob_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=archive(b"none").digest):
        store.download("models", [(archive(b"none"), tmp_path / "blob")])


def test_check_does_what_tunings_and_replicas_need_and_leaves_nothing(store: Store) -> None:
    store.check()
    assert store._objects.sizes(store._prefix) == {}


@pytest.fixture
def plain(s3_credentials: S3) -> Iterator[tuple[PlainS3, Store]]:
    """A server that may lack a feature; it accepts any credentials."""
    assert s3_credentials
    with plain_s3() as server, closing(Store(StoreSettings("bundles", endpoint=server.endpoint))) as found:
        yield server, found


def test_check_passes_on_a_server_that_lacks_nothing(plain: tuple[PlainS3, Store]) -> None:
    server, store = plain
    store.check()
    assert server.objects == {}


@pytest.mark.parametrize("answer", [(501, "NotImplemented"), (400, "NotImplemented"), (400, "InvalidArgument")])
@pytest.mark.parametrize("header", ["if-none-match", "range", "x-amz-copy-source-if-match"])
def test_check_names_the_feature_that_a_server_refuses(
    plain: tuple[PlainS3, Store], header: str, answer: tuple[int, str]
) -> None:
    server, store = plain
    server.refused = {header: answer}
    with pytest.raises(StoreError, match=rf"(?i){header}.*docs/stores.md") as caught:
        store.check()
    assert not isinstance(caught.value, StoreUnavailableError), "otherwise it would be retried forever"
    assert server.objects == {}


def test_check_names_a_server_that_reads_over_ranges(plain: tuple[PlainS3, Store]) -> None:
    server, store = plain
    server.ignored = {"range"}
    with pytest.raises(StoreError, match=r"ignored reads of ranges.*docs/stores.md"):
        store.check()


@pytest.fixture
def careless(plain: tuple[PlainS3, Store]) -> Store:
    """A server that ignores every condition, as Ceph does at copies and GCS does at writes."""
    server, store = plain
    server.ignored = {"if-none-match", "x-amz-copy-source-if-match"}
    return store


def test_a_server_that_reads_over_conditions_passes_the_check(careless: Store) -> None:
    careless.check()


def test_on_a_server_that_reads_over_conditions_the_first_manifest_stays(careless: Store) -> None:
    assert careless.put_manifest("models", "key", "gpu", "signer", b"first")
    assert not careless.put_manifest("models", "key", "gpu", "signer", b"second")
    assert careless.get_manifest("models", "key", "gpu", "signer") == b"first"


def test_on_a_server_that_reads_over_conditions_a_swap_is_noticed(
    careless: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_after_hashing(careless, monkeypatch)
    with pytest.raises(DigestMismatchError):
        careless.publish("models", "key", "uid-1", "archives/Triton", archive(b"good"))
    assert not careless.blob_exists("models", archive(b"good").digest, 4)


def test_a_manifest_that_a_server_can_not_create_names_the_feature(plain: tuple[PlainS3, Store]) -> None:
    server, store = plain
    server.refused = {"if-none-match": (501, "NotImplemented")}
    with pytest.raises(StoreError, match=r"doesn't support conditional writes"):
        store.put_manifest("models", "key", "gpu", "signer", b"envelope")


@pytest.mark.usefixtures("s3_credentials")
def test_check_uploads_as_ranks_do() -> None:
    """A server that redirects uploads fails the check, although other requests work."""
    with answering() as server, closing(Store(StoreSettings("bundles", endpoint=server.endpoint))) as store:
        server.status, server.code, server.headers = 307, "TemporaryRedirect", {"x-amz-bucket-region": "eu-west-1"}
        with pytest.raises(StoreError, match=r"set s3.region to the bucket's region, eu-west-1"):
            store.check()


def test_a_missing_bucket_is_named(s3_credentials: S3) -> None:
    settings = StoreSettings("nowhere", endpoint=s3_credentials.endpoint)
    with pytest.raises(NotFoundError, match=r"s3://nowhere/.*make the bucket"):
        manifest_of(settings)
    with closing(Store(settings)) as store, pytest.raises(NotFoundError, match=r"/nowhere/.*make the bucket"):
        store.check()


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_denied(s3_credentials: S3, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "wrong")
    with pytest.raises(AccessDeniedError, match=r"check the (credentials|secret key)"):
        manifest_of(s3_credentials.settings())


def test_no_credentials_at_an_endpoint_means_unsigned_requests(
    s3_credentials: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessDeniedError):
        manifest_of(s3_credentials.settings())


@pytest.mark.usefixtures("s3_credentials")
def test_an_endpoint_that_refuses_connections_is_unavailable() -> None:
    with pytest.raises(StoreUnavailableError, match=r"http://127\.0\.0\.1:9"):
        manifest_of(StoreSettings("bundles", endpoint="http://127.0.0.1:9"))


@pytest.fixture
def stalled() -> Iterator[str]:
    """An endpoint that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.usefixtures("s3_credentials")
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get_manifest("models", "key", "gpu", "signer"),
        lambda store: store.put_manifest("models", "key", "gpu", "signer", b"envelope"),
        lambda store: store.blob_exists("models", "digest", 1),
        lambda store: store.staged("models", "key", "uid-1"),
        lambda store: store.publish("models", "key", "uid-1", "archives/Triton", archive(b"")),
        lambda store: store._objects.copy("source", "target", "tag", 1),
        lambda store: store.check(),
    ],
    ids=["read", "write", "look", "list", "publish", "copy", "check"],
)
def test_every_call_ends_by_its_deadline_also_while_it_waits_for_an_answer(
    stalled: str, call: Callable[[Store], object]
) -> None:
    started = time.monotonic()
    with closing(Store(StoreSettings("bundles", endpoint=stalled), seconds=2.0)) as store:
        with pytest.raises(StoreUnavailableError):
            call(store)
        assert 1.0 < time.monotonic() - started < 4.0


def test_an_answer_that_trickles_is_no_answer(s3_credentials: S3, store: Store) -> None:
    """Each piece of the answer arrives in time, but the answer never ends."""
    stage(store, bytes(2**20))
    with faulty(s3_credentials.endpoint, lambda *_: Fault.SLOW) as proxy:
        slow = replace(store._objects._settings, endpoint=proxy.endpoint)
        started = time.monotonic()
        with closing(Store(slow, seconds=3.0)) as found, pytest.raises(StoreUnavailableError):
            found.read_staged("models", "key", "uid-1", "archives/Triton", 2**20)
        assert time.monotonic() - started < 7.0, "of 10 s"


@pytest.mark.usefixtures("s3_credentials")
def test_with_a_breaker_one_call_waits_and_the_next_ones_fail_at_once(stalled: str) -> None:
    with closing(Store(StoreSettings("bundles", endpoint=stalled), seconds=1.0, breaker=Breaker())) as store:
        with pytest.raises(StoreUnavailableError):
            store.get_manifest("models", "key", "gpu", "signer")
        started = time.monotonic()
        for _ in range(10):
            with pytest.raises(StoreUnavailableError):
                store.staged("models", "key", "uid-1")
        assert time.monotonic() - started < 0.5
