"""Settings of the installation: Helm values, which the operator gets as environment variables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from tunecast_core.errors import MalformedError, StoreError, TunecastError
from tunecast_core.records.codec import decode
from tunecast_core.store.transport import Transport, certificates
from tunecast_core.trust.settings import AddressingStyle, StoreSettings
from tunecast_operator.plan.slots import SlotLimits
from tunecast_operator.resources.init_container import ContainerSettings, InitContainer

_KEBAB = re.compile(r"([A-Z])")


class InstallationError(TunecastError):
    reason = "BadInstallation"


@dataclass(frozen=True, slots=True)
class Installation:
    """Each field is a Helm value of the same name."""

    store: StoreSettings
    namespace: str  # the namespace of the operator
    init_image: str
    init_pull_policy: str = "IfNotPresent"
    init_container: ContainerSettings = field(default_factory=ContainerSettings)
    init_deadline_seconds: float = 60.0
    signing_secret: str = "tunecast-signing-key"  # noqa: S105 - a Secret's name
    watch_namespaces: tuple[str, ...] = ()  # empty: the whole cluster
    workers: int = 4
    log_level: str = "INFO"
    metrics_port: int = 8081
    read_nodes: bool = True
    tuning_max_concurrent: int = 0  # in all namespaces together; 0: no limit
    tuning_max_concurrent_per_namespace: int = 0
    adoption_defaults: Mapping[str, str] = field(default_factory=dict)  # settings of adopted pods, by name
    # Names of the webhook's Secret, MutatingWebhookConfiguration and Service. Empty: the operator manages neither.
    webhook_secret: str = ""
    webhook_configuration: str = ""
    webhook_service: str = ""

    @property
    def manages_webhook(self) -> bool:
        """Whether the operator issues the webhook's certificate: the chart names its objects then."""
        return all((self.webhook_secret, self.webhook_configuration, self.webhook_service))

    @property
    def init(self) -> InitContainer:
        return InitContainer(self.init_image, self.init_pull_policy, self.init_container)

    @property
    def tuning_limits(self) -> SlotLimits:
        return SlotLimits(self.tuning_max_concurrent, self.tuning_max_concurrent_per_namespace)


def from_environment(environment: Mapping[str, str]) -> Installation:
    """Reads the environment variables ``TUNECAST_*``.

    Raises:
        InstallationError: a variable without a default is missing or empty, or another one can't be read.
    """
    return Installation(
        store=StoreSettings(
            bucket=required(environment, "TUNECAST_BUCKET"),
            prefix=environment.get("TUNECAST_PREFIX", ""),
            endpoint=environment.get("TUNECAST_ENDPOINT") or None,
            region=environment.get("TUNECAST_REGION") or "us-east-1",
            addressing_style=_addressing_style(environment.get("TUNECAST_ADDRESSING_STYLE", "Auto") or "Auto"),
            transport=Transport(
                ca_certificates=_certificates(environment.get("TUNECAST_CA_FILE", "")),
                proxy=environment.get("TUNECAST_PROXY") or None,
            ),
        ),
        namespace=required(environment, "TUNECAST_NAMESPACE"),
        init_image=required(environment, "TUNECAST_INIT_IMAGE"),
        init_pull_policy=environment.get("TUNECAST_INIT_PULL_POLICY") or "IfNotPresent",
        init_container=container_settings(environment, "TUNECAST_INIT_CONTAINER"),
        init_deadline_seconds=float(environment.get("TUNECAST_INIT_DEADLINE_SECONDS") or 60),
        signing_secret=environment.get("TUNECAST_SIGNING_SECRET") or "tunecast-signing-key",
        watch_namespaces=names(environment.get("TUNECAST_WATCH_NAMESPACES", "")),
        log_level=environment.get("TUNECAST_LOG_LEVEL") or "INFO",
        metrics_port=int(environment.get("TUNECAST_METRICS_PORT") or 8081),
        read_nodes=environment.get("TUNECAST_READ_NODES") != "false",
        tuning_max_concurrent=int(environment.get("TUNECAST_TUNING_MAX_CONCURRENT") or 0),
        tuning_max_concurrent_per_namespace=int(environment.get("TUNECAST_TUNING_MAX_CONCURRENT_PER_NAMESPACE") or 0),
        adoption_defaults=adoption_defaults(environment, "TUNECAST_ADOPTION_DEFAULTS"),
        webhook_secret=environment.get("TUNECAST_WEBHOOK_SECRET", ""),
        webhook_configuration=environment.get("TUNECAST_WEBHOOK_CONFIGURATION", ""),
        webhook_service=environment.get("TUNECAST_WEBHOOK_SERVICE", ""),
    )


def names(text: str) -> tuple[str, ...]:
    """Names that commas separate."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def adoption_defaults(environment: Mapping[str, str], name: str) -> dict[str, str]:
    """The chart's value ``adoption.defaults``, by the names of annotations: excludeLayers becomes exclude-layers.

    Raises:
        InstallationError: it is no JSON object of plain values.
    """
    try:
        found = json.loads(environment.get(name, "{}"))
        return {
            _KEBAB.sub(r"-\1", key).lower(): _plain(value)
            for key, value in found.items()
            if value not in (None, "", [])
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise InstallationError(f"{name}: {error}: correct adoption.defaults in the Helm chart's values") from error


def _plain(value: Any) -> str:
    """As an annotation would have it: a list of layers with commas between them."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        raise TypeError("a value is a text, a number or a list")
    return str(value)


def _addressing_style(value: str) -> AddressingStyle:
    known = get_args(AddressingStyle)
    if value not in known:
        raise InstallationError(f"s3.addressingStyle is {value!r}: set it to one of {', '.join(known)}")
    return cast("AddressingStyle", value)


def _certificates(file: str) -> str:
    if not file:
        return ""
    try:
        return certificates(Path(file).read_text(encoding="utf-8", errors="replace"))
    except (OSError, StoreError) as error:
        raise InstallationError(f"{file}, which the chart mounts from s3.caCertificates: {error}") from error


def required(environment: Mapping[str, str], name: str) -> str:
    """The variable's value.

    Raises:
        InstallationError: it is missing or empty.
    """
    value = environment.get(name, "")
    if not value:
        raise InstallationError(f"the environment variable {name} is missing: set its value in the Helm chart")
    return value


def container_settings(environment: Mapping[str, str], name: str) -> ContainerSettings:
    """The chart's value ``initContainer``.

    Raises:
        InstallationError: it can't be read.
    """
    try:
        return decode(ContainerSettings, environment.get(name, "{}").encode(), f"the environment variable {name}")
    except MalformedError as error:
        raise InstallationError(f"{error}: correct initContainer in the Helm chart's values") from error
