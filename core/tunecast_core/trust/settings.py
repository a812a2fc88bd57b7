"""The trust settings of init containers: the location of the store, the trusted keys, and quarantined bundles.

The operator writes them to a ConfigMap in every namespace that it serves, so that keys rotate, the store moves and
bundles are quarantined without a rollout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tunecast_core.store.transport import DIRECT, Transport

CONFIG_MAP = "tunecast-trust"
FILE = "trust.json"
AddressingStyle = Literal["Auto", "Virtual", "Path"]


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Location of the store. Credentials are not part of it: they come from the environment or the pod's identity.

    Attributes:
        bucket: name of the bucket.
        prefix: prefix of all object names.
        endpoint: URL of the S3 server; None for AWS's endpoint of the region.
        region: region of the bucket.
        addressing_style: position of the bucket's name in a URL: in the host (Virtual) or in the path (Path). Auto is
            Path with an endpoint or for a name with a dot, for which AWS has no certificate, and otherwise Virtual.
        transport: how requests reach the store.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    addressing_style: AddressingStyle = "Auto"
    transport: Transport = DIRECT


@dataclass(frozen=True, slots=True)
class Trust:
    store: StoreSettings
    keys: dict[str, str]  # signer -> Ed25519 public key, base64 of its 32 bytes
    quarantined: tuple[str, ...] = ()  # digests of manifests (SHA-256 of the signed payload, hex)
    deadline_seconds: float = 60.0  # deadline of the whole init container
    signer: str = ""  # the operator's own signer, whose manifest precedes those of other signers
    version: int = field(default=1)
