"""Certificates of authorities in the formats that administrators have."""

from __future__ import annotations

import io

import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError, SSLError

from support.answering_s3 import answering
from support.authority import Authority
from tunecast_core.errors import StoreError
from tunecast_core.store.presigned import put
from tunecast_core.store.s3 import explained, unreachable
from tunecast_core.store.transport import Transport, certificates
from tunecast_core.trust.settings import StoreSettings

ONE, OTHER = Authority().pem, Authority().pem
KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "text",
    [
        ONE + OTHER,
        f"# Főtanúsítvány\n{ONE}\n\nother words\n{OTHER}",
        f"{KEY}{ONE}{OTHER}",
        ONE.replace("\n", "\r\n") + OTHER,
    ],
)
def test_certificates_are_read_without_surrounding_text(text: str) -> None:
    found = certificates(text)
    assert found.isascii()
    assert found.count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE" not in found
    assert len(Transport(found).tls().get_ca_certs()) == 2


@pytest.mark.parametrize(
    "text", ["", "ca.pem", KEY, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", ONE[:-40]]
)
def test_what_holds_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match=r"s3\.caCertificates"):
        certificates(text)


def test_without_certificates_the_public_ones_count() -> None:
    assert Transport().tls().verify_mode == Transport(ONE).tls().verify_mode


def test_a_server_without_tls_is_asked_through_the_proxy_too() -> None:
    """The proxy then receives the whole URL."""
    with answering() as proxy:
        put("http://store.internal/bundles/o?x", io.BytesIO(b"1"), 1, 5.0, Transport(proxy=proxy.endpoint))
        assert proxy.paths == ["http://store.internal/bundles/o?x"]


@pytest.mark.parametrize(
    ("cause", "nobody"),
    [
        (SSLError(endpoint_url="https://store", error=OSError("CERTIFICATE_VERIFY_FAILED")), False),
        (ConnectTimeoutError(endpoint_url="https://store"), True),
        (NoCredentialsError(), True),
    ],
)
def test_a_certificate_that_nobody_trusts_is_an_answer(cause: Exception, *, nobody: bool) -> None:
    """The failure is not blamed on a mesh that drops connections."""
    with pytest.raises(StoreError) as caught, explained("read", StoreSettings("bundles")):
        raise cause
    assert unreachable(caught.value) == nobody
