"""Publishes a bundle as the operator would, or a bundle with a defect."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.objects import manifest
from support.s3 import S3
from tunecast_core.bundle import layout
from tunecast_core.bundle import pack as bundle
from tunecast_core.hardware import of_node
from tunecast_core.records.codec import canonical
from tunecast_core.records.manifest import Archive
from tunecast_core.store.s3 import connect
from tunecast_core.trust.settings import FILE, Trust
from tunecast_core.trust.signing import Signer, generate

KEY, NAMESPACE = "k" * 52, "models"


@dataclass(frozen=True)
class Bucket:
    """The objects below one prefix of a bucket. Credentials come from the environment."""

    s3: S3
    prefix: str
    signer: Signer
    hardware: str = field(default_factory=lambda: of_node(wants_gpu=False).name)  # hardware of this machine

    def put(self, name: str, data: bytes) -> None:
        with closing(connect(self.s3.settings())) as client:
            client.put_object(Bucket=self.s3.bucket, Key=name, Body=data)

    def put_blob(self, archive: Archive, data: bytes) -> None:
        self.put(layout.blob_object(self.prefix, NAMESPACE, archive.digest), data)

    def put_manifest(self, archives: tuple[Archive, ...], signer: Signer | None = None, **changes: Any) -> str:
        """Writes a manifest to the path of ``self.signer``; returns its digest."""
        payload = canonical(
            manifest(changes.pop("key", KEY), archives=archives, **{"hardware": self.hardware, **changes})
        )
        envelope = (signer or self.signer).sign(payload)
        self.put(layout.manifest_object(self.prefix, NAMESPACE, KEY, self.hardware, self.signer.signer), envelope)
        return hashlib.sha256(payload).hexdigest()

    def publish(self, files: dict[str, bytes], folder: Path) -> tuple[Archive, ...]:
        """Writes ``files`` to a mount path below ``folder``, and publishes the mount path."""
        for path, data in files.items():
            (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / path).write_bytes(data)
        return self.publish_tree(folder / "source", folder)

    def publish_tree(self, source: Path, folder: Path) -> tuple[Archive, ...]:
        """Packs the layers of a mount path to archives in ``folder``, and publishes them."""
        archives = []
        for layer, paths in bundle.capture(source, (), {}).layers.items():
            archives.append(bundle.pack(source, paths, folder / layer))
            self.put_blob(archives[-1], (folder / layer).read_bytes())
        self.put_manifest(tuple(archives))
        return tuple(archives)

    def trust(self, folder: Path, **changes: Any) -> Path:
        """Writes the trust ConfigMap's file to ``folder``."""
        values = {"store": self.s3.settings(self.prefix), "keys": {self.signer.signer: self.signer.public_key}}
        folder.mkdir(exist_ok=True)
        (folder / FILE).write_bytes(canonical(Trust(**{**values, **changes})))
        return folder


def bucket(s3: S3, prefix: str) -> Bucket:
    return Bucket(s3, prefix, Signer(generate()))
