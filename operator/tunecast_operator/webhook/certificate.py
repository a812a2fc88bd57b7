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
    """A TLS context with the certificate of a Secret. Open connections keep their certificate."""

    def __init__(self, cluster: Cluster, namespace: str, secret: str) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.loaded = False
        self._name = f"{namespace}/{secret}"
        self._secrets = Informer(
            cluster, SECRET, [namespace], fields=f"metadata.name={secret}", changed=self._secret_changed
        )

    def start(self) -> None:
        """Starts to watch the Secret."""
        self._secrets.start()

    def _secret_changed(self, _old: Mapping[str, Any] | None, secret: Mapping[str, Any] | None) -> None:
        """Loads the certificate. If the Secret is gone or invalid, the last one stays in use."""
        data = (secret or {}).get("data") or {}
        try:
            chain, key = (base64.b64decode(data[name], validate=True) for name in ("tls.crt", "tls.key"))
            self._load(chain, key)
        except (KeyError, ValueError, OSError) as error:
            log.warning("Secret %s holds no certificate that can be served: %s", self._name, error or "it is empty")
            return
        self.loaded = True
        log.info("serving with the certificate of Secret %s", self._name)

    def _load(self, chain: bytes, key: bytes) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "pair.pem")  # the ssl module only reads files
            file.touch(0o600)
            file.write_bytes(chain + b"\n" + key)
            self.context.load_cert_chain(file)
