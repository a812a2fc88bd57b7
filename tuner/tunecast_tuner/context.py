"""What every part of one attempt is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunecast_cache import job, layers
from tunecast_tuner.attempt import Attempt
from tunecast_tuner.console import Console
from tunecast_tuner.upload import Progress, Urls


@dataclass(frozen=True, slots=True)
class Context:
    settings: job.JobSettings
    attempt: Attempt
    console: Console
    progress: Progress
    urls: Urls
    environ: Mapping[str, str]  # the serving pod's
    temporary: Path  # where archives wait for their broadcast

    @property
    def root(self) -> Path:
        """The mount path."""
        return Path(self.settings.mount_path)

    @property
    def environment(self) -> dict[str, str]:
        """The engine's, without what a proof decides."""
        return {**self.environ, **layers.environment(self.settings.mount_path)}

    @property
    def secrets(self) -> dict[str, bytes]:
        """Values that must never be staged."""
        names = self.settings.secret_variables
        return {name: self.environ[name].encode() for name in names if self.environ.get(name)}
