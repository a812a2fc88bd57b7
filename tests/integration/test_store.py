"""The store against a real S3 server."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.s3 import S3
from tunecast_cache.errors import (
    AccessDeniedError,
    DigestMismatchError,
    MalformedError,
    NotFoundError,
    StoreError,
    StoreUnavailableError,
)
from tunecast_cache.manifest import Archive
from tunecast_cache.retry import Retries
from tunecast_cache.store import RANGE, Store
from tunecast_cache.trust import StoreSettings

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
    url = store.presign_put("models", "key", job, name, 60)
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
    url = store.presign_put("models", "key", "uid-1", "archives/Triton", 60)
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
    stage(store, b"good")
    hashed = store._hash

    def swapped(name: str, expected: Archive) -> str:
        tag = hashed(name, expected)
        stage(store, b"evil")
        return tag

    monkeypatch.setattr(store, "_hash", swapped)
    with pytest.raises(DigestMismatchError, match="replaced after it was hashed"):
        store.publish("models", "key", "uid-1", "archives/Triton", archive(b"good"))
    assert not store.blob_exists("models", archive(b"good").digest, 4)


def test_nothing_staged_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.publish("models", "key", "uid-1", "archives/Triton", archive(b"data"))


def test_staged_objects_of_one_attempt(store: Store) -> None:
    stage(store, b"12345", "progress.json", "uid-1")
    stage(store, b"123", "results/0.json", "uid-1")
    stage(store, b"1", "progress.json", "uid-11")
    assert store.staged("models", "key", "uid-1") == {"progress.json": 5, "results/0.json": 3}
    assert store.staged_jobs("models") == [("key", "uid-1"), ("key", "uid-11")]
    assert store.read_staged("models", "key", "uid-1", "progress.json", 5) == b"12345"
    assert store.read_staged("models", "key", "uid-1", "results/1.json", 5) is None
    with pytest.raises(MalformedError):
        store.read_staged("models", "key", "uid-1", "progress.json", 4)
    store.delete_staged("models", "key", "uid-1")
    assert store.staged("models", "key", "uid-1") == {}
    assert store.staged_jobs("models") == [("key", "uid-11")]


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


def test_check_passes(store: Store) -> None:
    store.check()


def test_a_missing_bucket_is_named(s3_credentials: S3) -> None:
    settings = StoreSettings("nowhere", endpoint=s3_credentials.endpoint)
    with pytest.raises(NotFoundError, match=r"s3://nowhere/.*make the bucket"):
        manifest_of(settings)
    with closing(Store(settings)) as store, pytest.raises(StoreError, match="s3://nowhere"):
        store.check()


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_denied(s3_credentials: S3, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "wrong")
    with pytest.raises(AccessDeniedError, match="check the credentials"):
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
