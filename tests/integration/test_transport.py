"""Operator, init containers and ranks reach a store with a private authority's certificate through a proxy."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.authority import Authority
from support.proxy import ConnectProxy, proxying
from support.published import bucket
from support.replica import FILES, Pod, cold
from support.s3 import S3, serving
from tunecast_core.errors import StoreError, StoreUnavailableError
from tunecast_core.records import job
from tunecast_core.store.bucket import Store
from tunecast_core.store.retry import Retries
from tunecast_core.store.transport import Transport
from tunecast_core.trust.settings import StoreSettings
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.upload import upload

pytestmark = pytest.mark.integration
HOST = "store.internal"  # no name server resolves it
NAME = "progress.json"
NO_PROXY = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}  # no process listens there


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def tls(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server whose certificate a private authority signed."""
    with serving(tmp_path_factory.mktemp("tls"), authority, HOST) as found:
        yield found


@pytest.fixture
def proxy() -> Iterator[ConnectProxy]:
    with proxying(**{HOST: "127.0.0.1"}) as found:
        yield found


@pytest.fixture
def settings(tls: S3, proxy: ConnectProxy, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> StoreSettings:
    """Sets credentials, and a proxy variable that must not be used."""
    for name, value in {
        **tls.environment,
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    endpoint = f"https://{HOST}:{urlsplit(tls.endpoint).port}"
    return StoreSettings("bundles", endpoint=endpoint, transport=Transport(authority.pem, proxy.url))


def check(settings: StoreSettings) -> None:
    with closing(Store(settings, seconds=5.0, retries=Retries(tries=1))) as store:
        store.check()


def stage(settings: StoreSettings) -> None:
    """Uploads as a rank does."""
    with closing(Store(settings)) as store:
        uploads = store.presign_puts("models", "key", "uid-1", [NAME], 60)
    found = job.JobSettings(
        "uid-1", "key", 1, "localhost", 1, "Engine", "/nowhere", 1.0, uploads=uploads, transport=settings.transport
    )
    upload(lambda: found, NAME, lambda: io.BytesIO(b"data"), 4, lambda _: None)


def test_the_operator_and_ranks_reach_the_store(settings: StoreSettings, proxy: ConnectProxy) -> None:
    check(settings)
    asked = len(proxy.seen)
    stage(settings)
    assert len(proxy.seen) > asked > 0
    assert set(proxy.seen) == {urlsplit(settings.endpoint or "").netloc}
    with closing(Store(settings)) as store:
        assert store.read_staged("models", "key", "uid-1", NAME, 9) == b"data"


def test_a_replica_reaches_the_store(settings: StoreSettings, tls: S3, proxy: ConnectProxy, tmp_path: Path) -> None:
    """A replica needs only the trust ConfigMap."""
    pod = Pod(tmp_path, bucket(tls, "replica"))
    pod.bucket.publish(FILES, tmp_path)
    ended = pod.run(NO_PROXY, store=replace(settings, prefix="replica"))
    assert ended.report.result == "Hit", ended.out
    assert ended.files == FILES
    assert proxy.seen


def test_a_replica_that_does_not_trust_the_authority_starts_cold_and_reports_it(
    settings: StoreSettings, tls: S3, proxy: ConnectProxy, tmp_path: Path
) -> None:
    pod = Pod(tmp_path, bucket(tls, "replica"))
    ended = pod.run(store=replace(settings, transport=Transport(proxy=proxy.url)))
    cold(ended, "StoreFailed")
    assert "set s3.caCertificates" in ended.report.message


@pytest.mark.parametrize("pem", [Authority().pem, ""], ids=["another authority", "the public ones"])
def test_the_operator_and_ranks_report_the_missing_certificate(settings: StoreSettings, pem: str) -> None:
    other = replace(settings, transport=replace(settings.transport, ca_certificates=pem))
    with pytest.raises(StoreError, match=r"set s3.caCertificates") as caught:
        check(other)
    assert not isinstance(caught.value, StoreUnavailableError)
    with pytest.raises(AttemptError, match=r"set s3.caCertificates"):
        stage(other)


def test_a_name_that_the_certificate_is_not_for_is_refused(settings: StoreSettings, proxy: ConnectProxy) -> None:
    proxy.hosts["another.internal"] = "127.0.0.1"
    endpoint = (settings.endpoint or "").replace(HOST, "another.internal")
    with pytest.raises(StoreError, match=r"another.internal.*s3.endpoint to a name in that certificate"):
        check(replace(settings, endpoint=endpoint))


def test_a_proxy_that_refuses_is_named(settings: StoreSettings, proxy: ConnectProxy) -> None:
    proxy.refuses = True
    with pytest.raises(StoreUnavailableError, match="403"):
        check(settings)
    with pytest.raises(AttemptError, match="403"):
        stage(settings)


def test_without_the_setting_no_proxy_is_used(tls: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        **tls.environment,
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    check(tls.settings())
    stage(tls.settings())
