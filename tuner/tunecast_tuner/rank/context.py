"""The context that all parts of one attempt share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunecast_core.bundle import layers
from tunecast_core.engine.command_line import CommandLine, read
from tunecast_core.errors import CommandLineError
from tunecast_core.records import job
from tunecast_core.trust.secret_names import holds_password, names_public, names_secret
from tunecast_tuner.rank.attempt import Attempt
from tunecast_tuner.rank.console import Console
from tunecast_tuner.rank.failures import AttemptError
from tunecast_tuner.rank.upload import ProgressReporter, Settings


@dataclass(frozen=True, slots=True)
class Context:
    settings: job.JobSettings
    attempt: Attempt
    console: Console
    progress: ProgressReporter
    current: Settings  # reads the settings again, which the operator renews
    environ: Mapping[str, str]  # environment of the serving pod
    temporary: Path  # directory of archives until their broadcast

    @property
    def root(self) -> Path:
        """The mount path."""
        return Path(self.settings.mount_path)

    @property
    def line(self) -> CommandLine:
        """The parsed serving command line.

        Raises:
            AttemptError: BAD_SETTINGS, the command line can't be read.
        """
        return command_line(self.settings.command, self.environ)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the engine, without variables that only some bundles need."""
        return {**self.environ, **layers.environment(self.settings.mount_path)}

    @property
    def secrets(self) -> dict[str, bytes]:
        """Secret values, which must not be logged or staged, by the variable or file that holds each."""
        named = {name for name, value in self.environ.items() if names_secret(name) or holds_password(value)}
        names = sorted({*self.settings.secret_variables, *named})
        variables = {name: self.environ[name].encode() for name in names if self.environ.get(name)}
        return {**variables, **dict(_files(self.settings.secret_paths))}

    @property
    def unstageable(self) -> dict[str, bytes]:
        """Secret values that no bundle may hold. Public values, such as the model's name, may occur in caches."""
        line = self.line
        public = {name.encode() for name in (line.model, *line.served_names)}
        secrets = ((name, value) for name, value in self.secrets.items() if value.strip() not in public)
        return {
            name: value
            for name, value in secrets
            if not names_public(name.rpartition("/")[2]) or holds_password(value.decode(errors="replace"))
        }


def command_line(command: Sequence[str], environ: Mapping[str, str]) -> CommandLine:
    """Parses the command line. Raises AttemptError (BAD_SETTINGS) if it can't be read."""
    try:
        return read(command, environment=environ)
    except CommandLineError as error:
        raise AttemptError(job.BAD_SETTINGS, str(error)) from error


def _files(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yields the path and content of each file of mounted Secrets. A mount may be a single file."""
    for path in map(Path, paths):
        for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
            if (
                file.is_file() and not file.is_symlink() and os.access(file, os.R_OK)
            ):  # the kubelet's links would repeat it
                yield str(file), file.read_bytes()
