"""Objects in the bucket that the operator must not use. S3 is a dictionary here."""

import hashlib
import io
import logging
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.archives import entry, packed, plain, special
from support.authority import Authority
from support.kubelet import ARCHIVE, BYTES, FILE
from support.objects import NOW, inference_deployment, key_in, manifest, proof, snapshot_of
from tunecast_core.bundle import layout
from tunecast_core.bundle.archive import END
from tunecast_core.errors import (  # fmt: skip
    BundleError,
    DigestMismatchError,
    MalformedError,
    NotFoundError,
    StoreError,
    UnsafeArchiveError,
)
from tunecast_core.records.codec import canonical
from tunecast_core.records.job import PROGRESS, RankResult, archive_object, result_object
from tunecast_core.records.manifest import Archive, Provenance
from tunecast_core.records.seal import seal
from tunecast_core.store.bucket import Store
from tunecast_core.store.transport import Transport
from tunecast_core.trust import signing
from tunecast_core.trust.settings import StoreSettings
from tunecast_operator.api.startup_cache import StartupCacheSpec
from tunecast_operator.identity import digest
from tunecast_operator.runtime.logs import log_at
from tunecast_operator.runtime.publisher import RESULT_LIMIT, Publisher
from tunecast_operator.secrets import secret_paths

CACHE = {"metadata": {"name": "kc", "namespace": "models", "uid": "kc-uid"}}
KEY = key_in(inference_deployment())
SPEC = StartupCacheSpec.model_validate(snapshot_of(inference_deployment()))
JOB = "kc-uid-1"
OLD = b"o" * 32
STAGED = layout.staging_prefix("", "models", KEY, JOB)


class S3:
    """The S3 calls that a publisher makes."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get_object(self, **named: Any) -> dict[str, Any]:
        if named["Key"] not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        body = self.objects[named["Key"]]
        return {"Body": io.BytesIO(body), "ContentLength": len(body), "ETag": digest(body.hex())}

    def head_object(self, **named: Any) -> dict[str, Any]:
        return self.get_object(**named)

    def copy_object(self, **named: Any) -> dict[str, Any]:
        self.objects[named["Key"]] = self.objects[named["CopySource"]["Key"]]
        return {"CopyObjectResult": {"ETag": self.get_object(Key=named["Key"])["ETag"]}}

    def put_object(self, **named: Any) -> None:
        if named["Key"] in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
        self.objects[named["Key"]] = named["Body"]

    def get_paginator(self, _operation: str) -> Any:
        return self

    def paginate(self, **named: Any) -> list[dict[str, Any]]:
        return [{"Contents": [{"Key": key, "Size": 1} for key in self.objects if key.startswith(named["Prefix"])]}]

    def delete_object(self, **named: Any) -> None:
        del self.objects[named["Key"]]


@pytest.fixture
def s3() -> S3:
    return S3()


@pytest.fixture
def publisher(s3: S3) -> Publisher:
    store = Store(StoreSettings("bucket"))
    vars(store._objects)["_client"] = s3
    signer = signing.Signer(bytes(32))
    return Publisher(store, signer, {signer.signer: signer.public_key}, (signing.Signer(OLD),))


def staged(s3: S3, archive: bytes = BYTES, **declared: Any) -> RankResult:
    described = replace(ARCHIVE, digest=hashlib.sha256(archive).hexdigest(), size=len(archive), **declared)
    s3.objects[STAGED + archive_object("TorchCompile")] = archive
    provenance = Provenance("3.12")
    return RankResult(
        0, succeeded=True, reason="Proved", message="", archives=(described,), proof=proof(), provenance=provenance
    )


def sealed(claimed: RankResult, key: bytes = bytes(32), job: str = JOB, rank: int | None = None) -> bytes:
    name = result_object(claimed.rank if rank is None else rank)
    return seal(signing.Signer(key).token(job), name, canonical(claimed))


def test_what_was_published_is_found(publisher: Publisher, s3: S3) -> None:
    publisher.publish(CACHE, SPEC, 1, staged(s3), NOW)
    found = publisher.find("models", KEY)
    assert found
    assert found.manifest.attempt_id == JOB


def test_each_hardware_has_a_bundle_of_its_own(publisher: Publisher, s3: S3) -> None:
    for name in ("nvidia-h100-x86-64", "nvidia-l4-x86-64"):
        claimed = staged(s3)
        publisher.publish(CACHE, SPEC, 1, replace(claimed, provenance=Provenance("3.12", hardware=name)), NOW)
    for name in ("nvidia-h100-x86-64", "nvidia-l4-x86-64"):
        found = publisher.find("models", KEY, name)
        assert found
        assert found.manifest.hardware == name
    assert publisher.find("models", KEY, "nvidia-a100-x86-64") is None
    assert publisher.find("models", KEY), "any will do where none is asked for"


@pytest.mark.parametrize("name", ["", "../other", "UPPER", "a" * 64])
def test_a_hardware_that_is_no_name_is_never_published(publisher: Publisher, s3: S3, name: str) -> None:
    result = replace(staged(s3), provenance=Provenance("3.12", hardware=name))
    with pytest.raises(BundleError, match="names its hardware"):
        publisher.publish(CACHE, SPEC, 1, result, NOW)


def test_a_bundle_for_other_hardware_than_was_asked_for_is_never_published(publisher: Publisher, s3: S3) -> None:
    spec = SPEC.model_copy(update={"hardware": "nvidia-l4-x86-64"})
    elsewhere = replace(staged(s3), provenance=Provenance("3.12", hardware="nvidia-h100-x86-64"))
    with pytest.raises(BundleError, match="was to tune for nvidia-l4-x86-64"):
        publisher.publish(CACHE, spec, 1, elsewhere, NOW)
    assert publisher.find("models", KEY) is None


def gone(s3: S3) -> None:
    for name in [name for name in s3.objects if "/blobs/" in name]:
        del s3.objects[name]


def altered(s3: S3) -> None:
    for name in [name for name in s3.objects if "/manifests/" in name]:
        s3.objects[name] = b"{}"


def too_long(s3: S3) -> None:
    for name in [name for name in s3.objects if "/manifests/" in name]:
        s3.objects[name] = bytes(9 * 2**20)


def of_another_namespace(s3: S3) -> None:
    """Returns a manifest of the same operator for another tenant's pods."""
    other = canonical(manifest(KEY, namespace="others", archives=()))
    for name in [name for name in s3.objects if "/manifests/" in name]:
        s3.objects[name] = signing.Signer(bytes(32)).sign(other)


@pytest.mark.parametrize("harm", [altered, too_long, gone, of_another_namespace])
def test_an_unusable_bundle_is_ignored_and_replaced(publisher: Publisher, s3: S3, harm: Callable[[S3], None]) -> None:
    publisher.publish(CACHE, SPEC, 1, staged(s3), NOW)
    harm(s3)
    assert publisher.find("models", KEY) is None
    publisher.publish(CACHE, SPEC, 1, staged(s3), NOW)
    assert publisher.find("models", KEY)


def test_no_other_signers_bundle_stands_in_for_its_own_incomplete_one(s3: S3, publisher: Publisher) -> None:
    """Replicas use only the operator's own manifest, so the other bundle would leave them cold forever."""
    other = signing.Signer(bytes(range(32)))
    keys = {**publisher.trusted, other.signer: other.public_key}
    trusting = Publisher(publisher._store, signing.Signer(bytes(32)), keys)
    whole = manifest(KEY, archives=())
    place = layout.manifest_object("", "models", KEY, whole.hardware, other.signer)
    s3.objects[place] = other.sign(canonical(whole))
    assert trusting.find("models", KEY), "it counts where there is no other"
    trusting.publish(CACHE, SPEC, 1, staged(s3), NOW)
    gone(s3)
    assert trusting.find("models", KEY) is None
    trusting.publish(CACHE, SPEC, 1, staged(s3), NOW)
    found = trusting.find("models", KEY)
    assert found
    assert found.signer == trusting.signer


def test_results_and_progress_that_are_too_long_count_as_none(publisher: Publisher, s3: S3) -> None:
    s3.objects[STAGED + PROGRESS] = bytes(RESULT_LIMIT + 1)
    s3.objects[STAGED + result_object(0)] = bytes(RESULT_LIMIT + 1)
    claimed = RankResult(1, succeeded=False, reason="PeerLost", message="")
    s3.objects[STAGED + result_object(1)] = sealed(claimed)
    assert publisher.progress("models", KEY, JOB) is None
    assert list(publisher.results("models", KEY, JOB, 2)) == [1]


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (sealed(RankResult(0, succeeded=False, reason="PeerLost", message="")), True),
        (sealed(RankResult(0, succeeded=False, reason="PeerLost", message=""), OLD), True),
        (sealed(RankResult(0, succeeded=False, reason="PeerLost", message=""), b"e" * 32), False),
        (sealed(RankResult(0, succeeded=False, reason="PeerLost", message=""), job="kc-uid-2"), False),
        (sealed(RankResult(0, succeeded=False, reason="PeerLost", message=""), rank=1), False),
        (sealed(RankResult(1, succeeded=False, reason="PeerLost", message=""), rank=0), False),
        (canonical(RankResult(0, succeeded=False, reason="PeerLost", message="")), False),
        (b"", False),
    ],
    ids=[
        "its own",
        "before a rotation",
        "a stranger's",
        "another attempt's",
        "moved",
        "another rank's",
        "open",
        "none",
    ],
)
def test_only_results_of_the_attempts_ranks_count(s3: S3, publisher: Publisher, data: bytes, counts: bool) -> None:
    s3.objects[STAGED + result_object(0)] = data
    assert bool(publisher.results("models", KEY, JOB, 1)) is counts


TRITON = Archive("Triton", "a" * 64, 1, 1, 1)
CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"archives": ()}, "no bundle"),
    ({"archives": (replace(TRITON, layer="Rootkit"),)}, "no bundle: its layers are ..Rootkit"),
    ({"archives": (TRITON, TRITON)}, "no bundle"),
    ({"archives": (replace(TRITON, layer="../manifests"),)}, "no bundle"),
    ({"archives": (replace(TRITON, size=-1),)}, "impossible sizes"),
    ({"archives": (replace(TRITON, size=2**40),)}, "impossible sizes"),
    ({"archives": (replace(TRITON, size=6 * 2**30),)}, "S3 copies"),
    ({"archives": (replace(TRITON, unpacked=2**50),)}, "impossible sizes"),
    ({"archives": (replace(TRITON, files=10**9),)}, "impossible sizes"),
    ({"archives": (TRITON,)}, "archives/Triton"),  # not staged
    ({"proof": None}, "no proof"),
    ({"provenance": None}, "no proof"),
    ({"environment": {"LD_PRELOAD": "/var/cache/tunecast/triton/evil.so"}}, "asks for the environment"),
    ({"environment": {"PYTHONPATH": "/tmp/evil"}}, "asks for the environment"),
]


@pytest.mark.parametrize(
    ("claims", "message"), CLAIMS, ids=[f"{n}-{message[:20]}" for n, (_, message) in enumerate(CLAIMS)]
)
def test_what_rank_0_may_not_claim_is_never_published(
    publisher: Publisher, s3: S3, claims: dict[str, Any], message: str
) -> None:
    with pytest.raises((BundleError, NotFoundError), match=message):
        publisher.publish(CACHE, SPEC, 1, replace(staged(s3), **claims), NOW)
    assert not [name for name in s3.objects if "/manifests/" in name]


LINK = special("vllm/torch_compile_cache/model", tarfile.SYMTYPE, link="/etc/passwd") + END
UNSAFE = {
    "a link": packed([FILE], LINK),
    "more than its index lists": packed([FILE], plain(FILE) + plain(entry("vllm/torch_compile_cache/z")) + END),
    "another layer's file": packed([entry("triton/a")], plain(entry("triton/a")) + END),
    "bytes after its end": BYTES + b"more",
    "no archive": b"archive",
    "half an archive": BYTES[:-9],
}


@pytest.mark.parametrize("archive", UNSAFE.values(), ids=UNSAFE.keys())
def test_an_archive_that_no_init_container_would_install_is_never_published(
    publisher: Publisher, s3: S3, archive: bytes
) -> None:
    """It is not published even if it is a blob already, which any writer to the bucket can store."""
    result = staged(s3, archive)
    for _ in range(2):
        with pytest.raises((UnsafeArchiveError, MalformedError)):
            publisher.publish(CACHE, SPEC, 1, result, NOW)
        assert not [name for name in s3.objects if "/manifests/" in name]
        s3.objects[layout.blob_object("", "models", result.archives[0].digest)] = archive


@pytest.mark.parametrize("declared", [{"files": 2}, {"unpacked": FILE.size + 1}])
def test_an_archive_that_differs_from_its_result_is_never_published(
    publisher: Publisher, s3: S3, declared: dict[str, Any]
) -> None:
    with pytest.raises(UnsafeArchiveError):
        publisher.publish(CACHE, SPEC, 1, staged(s3, **declared), NOW)
    assert not [name for name in s3.objects if "/blobs/" in name]


def test_a_blob_of_other_bytes_is_replaced_by_what_was_staged(publisher: Publisher, s3: S3) -> None:
    result = staged(s3)
    blob = layout.blob_object("", "models", result.archives[0].digest)
    s3.objects[blob] = bytes(len(BYTES))
    publisher.publish(CACHE, SPEC, 1, result, NOW)
    assert s3.objects[blob] == BYTES


def test_other_bytes_are_reported_as_such_even_if_they_are_no_archive(publisher: Publisher, s3: S3) -> None:
    result = staged(s3)
    s3.objects[STAGED + archive_object("TorchCompile")] = bytes(len(BYTES))
    with pytest.raises(DigestMismatchError):
        publisher.publish(CACHE, SPEC, 1, result, NOW)


@pytest.mark.parametrize(
    ("volume", "secret"),
    [
        ({"secret": {"secretName": "hub"}}, True),
        ({"projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "hub"}}]}}, True),
        ({"projected": {"sources": [{"configMap": {"name": "c"}}]}}, False),
        ({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}, True),
        ({"csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}}, True),
        ({"csi": {"driver": "efs.csi.aws.com"}}, False),
        ({"emptyDir": {}}, False),
    ],
)
def test_where_secrets_are_mounted(volume: dict[str, Any], secret: bool) -> None:
    mounts = [{"name": "v", "mountPath": "/b"}, {"name": "v", "mountPath": "/a"}, {"name": "w", "mountPath": "/c"}]
    assert secret_paths([{"name": "v", **volume}, {"name": "w"}], mounts) == (["/a", "/b"] if secret else [])


def test_no_log_shows_what_an_upload_is_signed_with() -> None:
    auth = logging.getLogger("botocore.auth")
    try:
        log_at("DEBUG")
        assert not auth.isEnabledFor(logging.DEBUG)
    finally:
        logging.getLogger("botocore").setLevel(logging.NOTSET)


def test_ranks_get_the_settings_to_reach_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    transport = Transport("certificates", "http://proxy:3128")
    signer = signing.Signer(bytes(32))
    with closing(Store(StoreSettings("bucket", transport=transport))) as store, pytest.raises(StoreError, match="PEM"):
        Publisher(store, signer, {}).settings(CACHE, SPEC, 1, ())
    transport = Transport(Authority().pem, "http://proxy:3128")
    with closing(Store(StoreSettings("bucket", transport=transport))) as store:
        assert Publisher(store, signer, {}).settings(CACHE, SPEC, 1, ()).transport == transport
