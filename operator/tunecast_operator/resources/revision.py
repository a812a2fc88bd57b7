"""Inputs of a rendered template, kept in an annotation so that an operator upgrade starts no rollout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tunecast_core.errors import MalformedError
from tunecast_core.records.codec import canonical, decode
from tunecast_operator.identity import REVISION_ANNOTATION
from tunecast_operator.resources.init_container import ContainerSettings, InitContainer

RENDERER = 2  # raise it when the same spec renders another template, so that existing revisions stay as they are


@dataclass(frozen=True, slots=True)
class Revision:
    spec: str  # identity.template_digest
    key: str
    key_version: int
    init_image: str
    init_pull_policy: str
    environment: dict[str, str]  # variables that the bundle needs, such as PYTHONPYCACHEPREFIX
    held: bool  # has zero replicas until its StartupCache is decided
    port: int  # port that the engine listens on
    tls: bool = False
    renderer: int = RENDERER
    init_container: ContainerSettings = field(default_factory=ContainerSettings)

    @property
    def init(self) -> InitContainer:
        return InitContainer(self.init_image, self.init_pull_policy, self.init_container)

    def to_text(self) -> str:
        return canonical(self).decode()


def revision_of(deployment: dict[str, Any] | None) -> Revision | None:
    """Returns the revision that a live Deployment was rendered with; None if it has none that can be read."""
    text = ((deployment or {}).get("metadata", {}).get("annotations") or {}).get(REVISION_ANNOTATION, "")
    try:
        return decode(Revision, text.encode(), REVISION_ANNOTATION)
    except MalformedError:
        return None
