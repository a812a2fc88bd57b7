"""Settings of the webhook, which the chart passes as environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunecast_operator.resources.init_container import InitContainer
from tunecast_operator.runtime.installation import adoption_defaults, container_settings, names, required


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Settings with the meaning of the chart's values of the same names.

    Attributes:
        namespace: namespace in which Tunecast is installed.
        init: image and settings of the init container.
        secret: name of the Secret with the webhook's certificate.
        defaults: the chart's default settings of adopted pods, by the names of the annotations.
        watch_namespaces: namespaces in which pods are adopted; empty for all.
        port: port at which API servers call.
        health_port: port of the kubelet's probes.
    """

    namespace: str
    init: InitContainer
    secret: str
    defaults: Mapping[str, str]
    watch_namespaces: tuple[str, ...] = ()
    log_level: str = "INFO"
    metrics_port: int = 8081
    port: int = 9443
    health_port: int = 8080


def from_environment(environment: Mapping[str, str]) -> WebhookSettings:
    """Reads the environment variables ``TUNECAST_*``.

    Raises:
        InstallationError: a variable is missing, or can't be read.
    """
    return WebhookSettings(
        namespace=required(environment, "TUNECAST_NAMESPACE"),
        init=InitContainer(
            required(environment, "TUNECAST_INIT_IMAGE"),
            environment.get("TUNECAST_INIT_PULL_POLICY") or "IfNotPresent",
            container_settings(environment, "TUNECAST_INIT_CONTAINER"),
        ),
        secret=required(environment, "TUNECAST_WEBHOOK_SECRET"),
        defaults=adoption_defaults(environment, "TUNECAST_ADOPTION_DEFAULTS"),
        watch_namespaces=names(environment.get("TUNECAST_WATCH_NAMESPACES", "")),
        log_level=environment.get("TUNECAST_LOG_LEVEL") or "INFO",
        metrics_port=int(environment.get("TUNECAST_METRICS_PORT") or 8081),
        port=int(environment.get("TUNECAST_WEBHOOK_PORT") or 9443),
        health_port=int(environment.get("TUNECAST_HEALTH_PORT") or 8080),
    )
