"""Certificates and proxy of requests to the store. Needs only the standard library."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass

from tunecast_core.errors import StoreError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Transport:
    """Transport settings of the operator, init containers and ranks. The environment doesn't change them.

    Attributes:
        ca_certificates: PEM of the trusted authorities; if empty, those that the image trusts.
        proxy: URL of an HTTP proxy, ``http://host:port``; None for no proxy, even if HTTPS_PROXY is set.
    """

    ca_certificates: str = ""
    proxy: str | None = None

    @property
    def proxies(self) -> dict[str, str]:
        """The proxy by URL scheme, in the form of urllib and botocore."""
        return dict.fromkeys(("http", "https"), self.proxy) if self.proxy else {}

    def tls(self) -> ssl.SSLContext:
        """Returns a TLS context that verifies the store's certificate and host name.

        Raises:
            StoreError: the certificates can't be read.
        """
        try:
            return ssl.create_default_context(cadata=self.ca_certificates or None)
        except (ssl.SSLError, TypeError) as error:
            raise StoreError(f"s3.caCertificates can't be read: {error}; set it to certificates in PEM") from error


DIRECT = Transport()


def certificates(text: str) -> str:
    """Returns the certificates of a PEM file, without its comments and keys.

    Raises:
        StoreError: there is no certificate, or one can't be read.
    """
    found = "\n".join(_CERTIFICATE.findall(text))
    if not found:
        raise StoreError("s3.caCertificates has no certificate in PEM, from BEGIN CERTIFICATE to END CERTIFICATE")
    Transport(found).tls()
    return found + "\n"
