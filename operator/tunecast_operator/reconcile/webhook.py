"""Keeps the webhook's certificate valid, and its MutatingWebhookConfiguration trusting it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tunecast_core.errors import TunecastError
from tunecast_operator.resources import certificate
from tunecast_operator.resources.webhook_configuration import ca_bundles, certificate_secret, trusting
from tunecast_operator.runtime.cluster import MUTATING_WEBHOOK_CONFIGURATION, SECRET, Cluster, ConflictError
from tunecast_operator.runtime.installation import Installation
from tunecast_operator.runtime.metrics import Metrics

log = logging.getLogger(__name__)
LOOK_SECONDS = 20.0
PROPAGATION_SECONDS = 2.0  # until every API server has seen a changed configuration
OVERLAP = timedelta(minutes=10)  # after an issue: webhook pods load the new certificate within seconds


class WebhookConfigurationError(TunecastError):
    reason = "NoWebhookConfiguration"


class WebhookReconciler:
    """Level-triggered: Secret and configuration are read anew each time.

    A new certificate is put into the Secret only when API servers trust it: webhook pods load it within seconds.
    """

    def __init__(
        self, cluster: Cluster, installation: Installation, now: Callable[[], datetime], metrics: Metrics
    ) -> None:
        self._cluster, self._now, self._metrics = cluster, now, metrics
        self._namespace, self._secret = installation.namespace, installation.webhook_secret
        self._names = certificate.service_names(installation.webhook_service, installation.namespace)
        self._issued: certificate.IssuedCertificate | None = None  # that isn't in the Secret yet

    def reconcile(self, _namespace: str, name: str) -> float:
        """Returns in how many seconds to look again at the MutatingWebhookConfiguration ``name``.

        Raises:
            WebhookConfigurationError: there is none of this name. The Secret is put right all the same.
            ClusterError: the API server refused a step, or did not answer.
        """
        configuration = self._cluster.get(MUTATING_WEBHOOK_CONFIGURATION, "", name)
        secret = self._cluster.get(SECRET, self._namespace, self._secret)
        data: dict[str, str] = (secret or {}).get("data") or {}
        self._tell(data)
        again = LOOK_SECONDS
        if problem := certificate.problem(data, self._names, self._now()):
            again = self._renew(configuration, secret, problem)
        elif configuration:
            overlapping = self._now() - certificate.issued(data) < OVERLAP
            self._trust(configuration, [data[certificate.AUTHORITY]], former_too=overlapping)
        if configuration is None:
            raise WebhookConfigurationError(
                f"MutatingWebhookConfiguration {name} does not exist, so labelled pods start cold: upgrade the Helm "
                "release to restore it, or set webhook.enabled to false"
            )
        return again

    def _renew(self, configuration: dict[str, Any] | None, secret: dict[str, Any] | None, problem: str) -> float:
        """Has API servers trust a new certificate besides the present one; puts it into the Secret the next time."""
        new = self._issued = self._new()
        present = ((secret or {}).get("data") or {}).get(certificate.AUTHORITY, "")
        authorities = [new.data[certificate.AUTHORITY], present]
        if configuration and self._trust(configuration, authorities, former_too=True):
            return PROPAGATION_SECONDS
        version = secret["metadata"]["resourceVersion"] if secret else ""
        wanted = certificate_secret(self._namespace, self._secret, new, version)
        if secret:
            self._cluster.apply(SECRET, wanted)
        elif not self._cluster.create(SECRET, wanted):
            raise ConflictError(f"Secret {self._namespace}/{self._secret} was created meanwhile")
        self._issued = None
        self._tell(new.data)
        log.info("Secret %s/%s has a new certificate. Of the one before: %s", self._namespace, self._secret, problem)
        return LOOK_SECONDS

    def _new(self) -> certificate.IssuedCertificate:
        """The certificate that waits to be put into the Secret, unless too little of its overlap would be left."""
        waiting, now = self._issued, self._now()
        if waiting and now - certificate.issued(waiting.data) < OVERLAP / 2:
            return waiting
        return certificate.issue(self._names, now)

    def _trust(self, configuration: dict[str, Any], authorities: Sequence[str], *, former_too: bool) -> bool:
        """Returns False where API servers trust the authorities already, and nothing was written."""
        wanted = trusting(configuration, authorities, self._now(), former_too=former_too)
        if ca_bundles(wanted) == ca_bundles(configuration):
            return False
        self._cluster.apply(MUTATING_WEBHOOK_CONFIGURATION, wanted)
        log.info("MutatingWebhookConfiguration %s has a new caBundle", configuration["metadata"]["name"])
        return True

    def _tell(self, data: Mapping[str, str]) -> None:
        self._metrics.webhook_certificate(self._namespace, self._secret, certificate.expiry(data))
