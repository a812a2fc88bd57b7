"""Upload URLs that expire, and their renewal, against a real S3 server."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from support.credentials import TemporaryCredentials, temporary_credentials
from support.s3 import S3
from tunecast_core.errors import UrlExpiredError
from tunecast_core.records import job
from tunecast_core.records.codec import canonical
from tunecast_core.store.bucket import Store
from tunecast_core.store.presigned import end_of, life_of, put
from tunecast_tuner.rank import settings as rank_settings
from tunecast_tuner.rank.upload import upload

pytestmark = pytest.mark.integration
NAME = "progress.json"


@pytest.fixture
def store(s3_credentials: S3, request: pytest.FixtureRequest) -> Iterator[Store]:
    with closing(Store(s3_credentials.settings(prefix=request.node.name))) as found:
        yield found


@pytest.fixture
def credentials(s3_credentials: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemporaryCredentials:
    return temporary_credentials(s3_credentials, tmp_path, monkeypatch)


def presigned(store: Store, seconds: int) -> str:
    return store.presign_puts("models", "key", "uid-1", [NAME], seconds)[NAME]


def staged(store: Store) -> bytes | None:
    return store.read_staged("models", "key", "uid-1", NAME, 99)


def lapsed(store: Store) -> str:
    """Returns a URL that has expired."""
    url = presigned(store, 1)
    end = end_of(url)
    assert end
    while datetime.now(timezone.utc) <= end:
        time.sleep(0.05)
    return url


def test_urls_expire_with_the_credentials_that_sign_them(store: Store, credentials: TemporaryCredentials) -> None:
    credentials.live(960)
    url = presigned(store, 6 * 3600)
    assert 940 <= (life_of(url) or 0) <= 960
    put(url, io.BytesIO(b"data"), 4)
    assert staged(store) == b"data"


def test_credentials_are_refreshed_before_they_sign(store: Store, credentials: TemporaryCredentials) -> None:
    """The store keeps credentials until 15 minutes before they expire."""
    credentials.live(960)
    assert staged(store) is None
    credentials.live(3600)
    assert (life_of(presigned(store, 6 * 3600)) or 0) > 3500


def test_the_server_refuses_an_expired_url_as_such(store: Store) -> None:
    with pytest.raises(UrlExpiredError, match="expired"):
        put(lapsed(store), io.BytesIO(b"data"), 4)


def test_a_rank_whose_url_has_expired_waits_for_a_renewed_one(store: Store, tmp_path: Path) -> None:
    """It reads the mounted file, which the kubelet replaces after the operator has renewed the Secret."""
    first = job.JobSettings(
        attempt_id="uid-1",
        key="key",
        world_size=1,
        rendezvous_host="localhost",
        rendezvous_port=1,
        workload="Engine",
        mount_path="/nowhere",
        timeout_seconds=1.0,
        uploads={NAME: lapsed(store)},
    )
    waited: list[float] = []

    def kubelet(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            mount(replace(first, uploads={NAME: presigned(store, 60)}))

    def mount(settings: job.JobSettings) -> None:
        (tmp_path / "new").write_bytes(canonical(settings))
        (tmp_path / "new").replace(tmp_path / job.SETTINGS_FILE)

    mount(first)
    upload(lambda: rank_settings.load(tmp_path), NAME, lambda: io.BytesIO(b"data"), 4, kubelet)
    assert staged(store) == b"data"
    assert len(waited) == 3
