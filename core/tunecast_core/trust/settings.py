"""What an init container believes: where the store is, whose signatures count, and which bundles don't.

The operator keeps it as a ConfigMap in every namespace it serves, so that keys rotate, the store moves and bundles
are quarantined without a rollout.
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
    """Where bundles are. Credentials come from the environment or the pod's identity, never from here.

    Attributes:
        bucket: its name.
        prefix: what the names of all objects begin with.
        endpoint: URL of the S3 server; None: AWS's own endpoint of the region.
        region: where the bucket is.
        addressing_style: where the bucket's name is in a URL: in the host (Virtual) or in the path (Path). Auto is
            Virtual on AWS, unless the name has a dot, for which AWS has no certificate; and Path elsewhere.
        transport: how requests get there.
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
    deadline_seconds: float = 60.0  # of the whole init container
    signer: str = ""  # the operator's own: of several bundles of a key, replicas take the one that it goes by
    version: int = field(default=1)
