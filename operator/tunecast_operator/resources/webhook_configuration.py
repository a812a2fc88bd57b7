"""What API servers trust of the webhook, in its MutatingWebhookConfiguration, and the Secret with its certificate."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tunecast_operator.identity import MANAGED_BY
from tunecast_operator.resources.certificate import IssuedCertificate

AUTHORITIES = 8  # in a caBundle at the most: the new one, and former ones while webhook pods load the new certificate


def certificate_secret(namespace: str, name: str, issued: IssuedCertificate, version: str = "") -> dict[str, Any]:
    """The Secret to create, or to apply over the one whose resourceVersion is ``version``.

    An existing Secret keeps its type, which is immutable.
    """
    versioned = {"resourceVersion": version} if version else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": MANAGED_BY, **versioned},
        **({} if version else {"type": "kubernetes.io/tls"}),
        "data": issued.data,
    }


def trusting(
    configuration: Mapping[str, Any], authorities: Sequence[str], now: datetime, *, former_too: bool
) -> dict[str, Any]:
    """A server-side apply that sets the caBundle of each webhook of ``configuration``, and nothing else.

    Args:
        configuration: a MutatingWebhookConfiguration as it was read.
        authorities: certificates of the authorities to trust, each as PEM in base64. What can't be parsed is left out.
        now: authorities that have expired by then are not trusted.
        former_too: whether to go on trusting the authorities that ``configuration`` trusts.
    """
    trusted = ca_bundles(configuration) if former_too else [""] * len(_webhooks(configuration))
    return {
        "apiVersion": configuration["apiVersion"],
        "kind": configuration["kind"],
        "metadata": {name: configuration["metadata"][name] for name in ("name", "uid")},
        "webhooks": [
            {"name": webhook["name"], "clientConfig": {"caBundle": _bundle([*authorities, former], now)}}
            for webhook, former in zip(_webhooks(configuration), trusted, strict=True)
        ],
    }


def ca_bundles(configuration: Mapping[str, Any]) -> list[str]:
    """The caBundle of each webhook: PEM in base64, or empty where a webhook has none."""
    return [webhook["clientConfig"].get("caBundle") or "" for webhook in _webhooks(configuration)]


def _webhooks(configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    return configuration.get("webhooks") or []


def _bundle(authorities: Sequence[str], now: datetime) -> str:
    valid = (found for each in authorities for found in _authorities(each) if found.not_valid_after_utc > now)
    once = [*dict.fromkeys(found.public_bytes(Encoding.PEM) for found in valid)]
    return base64.b64encode(b"".join(once[:AUTHORITIES])).decode()


def _authorities(bundle: str) -> list[x509.Certificate]:
    """Empty where the bundle can't be parsed, such as after somebody edited it."""
    try:
        return x509.load_pem_x509_certificates(base64.b64decode(bundle, validate=True))
    except (ValueError, binascii.Error):
        return []
