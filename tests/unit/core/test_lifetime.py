"""How long URLs can live that are signed with temporary credentials."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.credentials import Credentials, DeferredRefreshableCredentials, RefreshableCredentials

from tunecast_core.errors import AccessDeniedError
from tunecast_core.store.s3 import explained, lifetime
from tunecast_core.trust.settings import StoreSettings

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
MOST = 6 * 3600


def fetched(seconds: float) -> dict[str, Any]:
    expiry = (NOW + timedelta(seconds=seconds)).isoformat()
    return {"access_key": "id", "secret_key": "secret", "token": "token", "expiry_time": expiry}


@pytest.mark.parametrize(
    ("left", "expected"), [(16 * 60, 960), (960.7, 960), (3600, 3600), (MOST, MOST), (12 * 3600, MOST), (901, 901)]
)
def test_urls_live_no_longer_than_the_credentials(left: float, expected: int) -> None:
    known = fetched(left)
    expiry = datetime.fromisoformat(known.pop("expiry_time"))
    credentials = RefreshableCredentials(
        **known, expiry_time=expiry, refresh_using=lambda: fetched(left), method="test", time_fetcher=lambda: NOW
    )
    assert lifetime(credentials, MOST) == expected


def test_credentials_that_end_soon_are_refreshed_first() -> None:
    known = fetched(60)
    expiry = datetime.fromisoformat(known.pop("expiry_time"))
    credentials = RefreshableCredentials(
        **known, expiry_time=expiry, refresh_using=lambda: fetched(3600), method="test", time_fetcher=lambda: NOW
    )
    assert lifetime(credentials, MOST) == 3600


def test_credentials_that_are_fetched_at_their_first_use_are() -> None:
    credentials = DeferredRefreshableCredentials(lambda: fetched(3600), "test", time_fetcher=lambda: NOW)
    assert lifetime(credentials, MOST) == 3600


@pytest.mark.parametrize("credentials", [Credentials("id", "secret"), None])
def test_others_than_temporary_credentials_do_not_end(credentials: Credentials | None) -> None:
    assert lifetime(credentials, MOST) == MOST


def test_credentials_that_come_expired_blame_the_clock() -> None:
    credentials = DeferredRefreshableCredentials(lambda: fetched(-60), "test", time_fetcher=lambda: NOW)
    with pytest.raises(AccessDeniedError, match="Is this machine's clock right"), explained("sign", StoreSettings("b")):
        lifetime(credentials, MOST)
