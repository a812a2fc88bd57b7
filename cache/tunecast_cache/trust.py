"""What an init container believes: where the store is, whose signatures count, and which bundles don't.

The operator keeps it as a ConfigMap in every namespace it serves, so that keys rotate, the store moves and bundles
are quarantined without a rollout.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CONFIG_MAP = "tunecast-trust"
FILE = "trust.json"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where bundles are. Credentials come from the environment or the pod's identity, never from here."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None  # None: AWS's own
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class Trust:
    store: StoreSettings
    keys: dict[str, str]  # signer -> Ed25519 public key, base64 of its 32 bytes
    quarantined: tuple[str, ...] = ()  # digests of manifests (SHA-256 of the signed payload, hex)
    deadline_seconds: float = 60.0  # of the whole init container
    signer: str = ""  # the operator's own: of several bundles of a key, replicas take the one that it goes by
    version: int = field(default=1)
