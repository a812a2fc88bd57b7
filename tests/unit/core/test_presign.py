"""The hosts of presigned URLs: AWS's regions, names with dots, and other servers."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import urlsplit

import pytest

from tunecast_core.store.bucket import Store
from tunecast_core.trust.settings import AddressingStyle, StoreSettings

OBJECT = "v1/models/staging/key/uid-1/progress.json"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_ENDPOINT_URL_S3": "https://the-operators-alone.example.com",
    }.items():
        monkeypatch.setenv(name, value)


def presigned(settings: StoreSettings) -> str:
    with closing(Store(settings)) as store:
        return store.presign_puts("models", "key", "uid-1", ["progress.json"], 60)["progress.json"]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "s3.us-east-1.amazonaws.com"),
        ("eu-central-1", "s3.eu-central-1.amazonaws.com"),
        ("ap-southeast-5", "s3.ap-southeast-5.amazonaws.com"),
        ("us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
    ],
)
@pytest.mark.parametrize(
    ("style", "bucket", "virtual"),
    [
        ("Auto", "bundles", True),
        ("Virtual", "bundles", True),
        ("Path", "bundles", False),
        ("Auto", "my.bundles", False),  # AWS's certificate is for one label
        ("Path", "my.bundles", False),
    ],
)
def test_aws_is_asked_at_the_endpoint_of_the_region(
    region: str, host: str, style: AddressingStyle, bucket: str, *, virtual: bool
) -> None:
    url = presigned(StoreSettings(bucket, region=region, addressing_style=style))
    expected = f"https://{bucket}.{host}/{OBJECT}" if virtual else f"https://{host}/{bucket}/{OBJECT}"
    assert url.partition("?")[0] == expected


@pytest.mark.parametrize(
    ("endpoint", "style", "bucket", "expected"),
    [
        ("http://minio:9000", "Auto", "bundles", "http://minio:9000/bundles"),
        ("http://minio:9000", "Auto", "my.bundles", "http://minio:9000/my.bundles"),
        ("http://minio:9000", "Path", "bundles", "http://minio:9000/bundles"),
        ("https://s3.example.com", "Auto", "bundles", "https://s3.example.com/bundles"),
        ("https://s3.example.com:8443", "Virtual", "bundles", "https://bundles.s3.example.com:8443"),
        ("http://s3.example.com", "Virtual", "my.bundles", "http://my.bundles.s3.example.com"),
        ("http://127.0.0.1:9000", "Virtual", "bundles", "http://127.0.0.1:9000/bundles"),  # an address has no subdomain
        ("http://[::1]:9000", "Auto", "bundles", "http://[::1]:9000/bundles"),
        ("https://id.r2.cloudflarestorage.com", "Auto", "bundles", "https://id.r2.cloudflarestorage.com/bundles"),
    ],
)
def test_other_servers_are_asked_at_their_endpoint(
    endpoint: str, style: AddressingStyle, bucket: str, expected: str
) -> None:
    url = presigned(StoreSettings(bucket, endpoint=endpoint, region="auto", addressing_style=style))
    assert url.partition("?")[0] == f"{expected}/{OBJECT}"


def test_without_credentials_a_url_of_another_server_is_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert urlsplit(presigned(StoreSettings("bundles", endpoint="http://minio:9000"))).query == ""
