"""Which authorities API servers are told to trust."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tunecast_operator.resources.certificate import LIFE, IssuedCertificate, issue
from tunecast_operator.resources.webhook_configuration import AUTHORITIES, ca_bundles, certificate_secret, trusting

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
NEW, OLD, OLDER = (issue(["hook.ns.svc"], NOW - timedelta(days=days)) for days in (0, 60, 80))
EXPIRED = issue(["hook.ns.svc"], NOW - LIFE)
GARBAGE = base64.b64encode(b"garbage").decode()


def trusted(*issued: IssuedCertificate) -> str:
    return base64.b64encode(b"".join(one.authority for one in issued)).decode()


def configuration(*bundles: str | None) -> dict[str, Any]:
    """One webhook for each caBundle; None for a webhook without one."""
    webhooks = [
        {"name": f"{number}.tunecast.io", "clientConfig": {"service": {"name": "hook"}}, "sideEffects": "None"}
        | ({"clientConfig": {"service": {"name": "hook"}, "caBundle": bundle}} if bundle is not None else {})
        for number, bundle in enumerate(bundles)
    ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "hook", "uid": "u", "labels": {"a": "b"}},
        "webhooks": webhooks,
    }


@pytest.mark.parametrize(
    ("authorities", "bundle", "former_too", "expected"),
    [
        ([NEW], None, False, [NEW]),
        ([NEW], None, True, [NEW]),
        ([NEW], trusted(OLD), False, [NEW]),
        ([NEW], trusted(OLD), True, [NEW, OLD]),
        ([NEW], trusted(NEW, OLD), True, [NEW, OLD]),
        ([NEW], trusted(OLD, NEW), True, [NEW, OLD]),
        ([NEW, OLD], trusted(OLDER), True, [NEW, OLD, OLDER]),
        ([NEW, OLD], trusted(OLDER, OLD), True, [NEW, OLD, OLDER]),
        ([NEW, EXPIRED], trusted(EXPIRED, OLD), True, [NEW, OLD]),
        ([NEW], GARBAGE, True, [NEW]),
        ([NEW], "not base64", True, [NEW]),
    ],
)
def test_the_new_authority_comes_first_and_former_ones_are_trusted_where_asked_for(
    authorities: list[IssuedCertificate], bundle: str | None, former_too: bool, expected: list[IssuedCertificate]
) -> None:
    told = trusting(configuration(bundle), [trusted(one) for one in authorities], NOW, former_too=former_too)
    assert ca_bundles(told) == [trusted(*expected)]


def test_a_present_authority_that_can_not_be_parsed_is_left_out() -> None:
    told = trusting(configuration(None), [trusted(NEW), GARBAGE, ""], NOW, former_too=True)
    assert ca_bundles(told) == [trusted(NEW)]


def test_a_bundle_does_not_grow_without_end() -> None:
    """As where the Secret can't be written and a certificate is issued again and again: what is in use stays."""
    bundle = ""
    for _ in range(2 * AUTHORITIES):
        issued = issue(["hook.ns.svc"], NOW)
        [bundle] = ca_bundles(trusting(configuration(bundle), [trusted(issued), trusted(OLD)], NOW, former_too=True))
    pem = base64.b64decode(bundle)
    assert pem.count(b"BEGIN CERTIFICATE") == AUTHORITIES
    assert OLD.authority in pem


def test_only_names_and_bundles_are_applied() -> None:
    assert trusting(configuration(None, GARBAGE), [trusted(NEW)], NOW, former_too=False) == {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "hook", "uid": "u"},
        "webhooks": [
            {"name": f"{number}.tunecast.io", "clientConfig": {"caBundle": trusted(NEW)}} for number in range(2)
        ],
    }


def test_a_secret_that_exists_keeps_its_type() -> None:
    assert certificate_secret("ns", "tls", NEW)["type"] == "kubernetes.io/tls"
    existing = certificate_secret("ns", "tls", NEW, "7")
    assert "type" not in existing
    assert existing["metadata"]["resourceVersion"] == "7"
    assert existing["data"] == NEW.data
