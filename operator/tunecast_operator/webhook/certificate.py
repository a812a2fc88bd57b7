"""The serving certificate of the webhook, which is reloaded when its Secret changes."""

from __future__ import annotations

import base64
import logging
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunecast_operator.runtime.cluster import SECRET, Cluster
from tunecast_operator.runtime.informer import Informer

log = logging.getLogger(__name__)


class ServingCertificate:
    """Serves the certificate of a Secret. Open connections keep their certificate.

    Each certificate has a context of its own, which is complete before a connection uses it. A context in use can't be
    changed: a handshake at the same time would fail, and a failed load would leave it without its private key.
    """

    def __init__(self, cluster: Cluster, namespace: str, secret: str) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.sni_callback = self._choose
        self._current: ssl.SSLContext | None = None
        self._name = f"{namespace}/{secret}"
        self._secrets = Informer(
            cluster, SECRET, [namespace], fields=f"metadata.name={secret}", changed=self._secret_changed
        )

    @property
    def loaded(self) -> bool:
        """Whether there is a certificate to serve."""
        return self._current is not None

    def start(self) -> None:
        """Starts to watch the Secret."""
        self._secrets.start()

    def _secret_changed(self, _old: Mapping[str, Any] | None, secret: Mapping[str, Any] | None) -> None:
        """Loads the certificate. If the Secret is gone or invalid, the last one stays in use."""
        data = (secret or {}).get("data") or {}
        try:
            chain, key = (base64.b64decode(data[name], validate=True) for name in ("tls.crt", "tls.key"))
            self._current = _context(chain, key)
        except (KeyError, ValueError, OSError) as error:
            log.warning("Secret %s holds no certificate that can be served: %s", self._name, error or "it is empty")
            return
        log.info("serving with the certificate of Secret %s", self._name)

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int | None:
        """Gives a connection the current certificate. It is called in each handshake, also without a server name."""
        if self._current is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def _context(chain: bytes, key: bytes) -> ssl.SSLContext:
    """Returns a context that serves a certificate.

    Raises:
        OSError: the certificate or its private key can't be parsed, or the key belongs to another certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "pair.pem")  # the ssl module only reads files
        file.touch(0o600)
        file.write_bytes(chain + b"\n" + key)
        context.load_cert_chain(file)
    return context
