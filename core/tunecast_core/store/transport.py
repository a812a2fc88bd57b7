"""How requests get to the store: whose certificates count, and through which proxy. Standard library alone."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass

from tunecast_core.errors import StoreError

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Transport:
    """The same for the operator, init containers and ranks. Nothing of it is read from the environment.

    Attributes:
        ca_certificates: PEM, in place of the public authorities; empty: those that the image trusts.
        proxy: URL of an HTTP proxy, ``http://host:port``; None: none, whatever HTTPS_PROXY says.
    """

    ca_certificates: str = ""
    proxy: str | None = None

    @property
    def proxies(self) -> dict[str, str]:
        """The proxy by the scheme of a URL, as urllib and botocore want it."""
        return dict.fromkeys(("http", "https"), self.proxy) if self.proxy else {}

    def tls(self) -> ssl.SSLContext:
        """Verifies the store by its certificate and name.

        Raises:
            StoreError: the certificates can't be read.
        """
        try:
            return ssl.create_default_context(cadata=self.ca_certificates or None)
        except (ssl.SSLError, TypeError) as error:
            raise StoreError(f"s3.caCertificates can't be read: {error}; set it to certificates in PEM") from error


DIRECT = Transport()


def certificates(text: str) -> str:
    """The certificates of a PEM file, without its comments and keys.

    Raises:
        StoreError: there are none, or none that can be read.
    """
    found = "\n".join(_CERTIFICATE.findall(text))
    if not found:
        raise StoreError("s3.caCertificates has no certificate in PEM, from BEGIN CERTIFICATE to END CERTIFICATE")
    Transport(found).tls()
    return found + "\n"
