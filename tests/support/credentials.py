"""Provides temporary credentials through botocore's credential process, because the tests' S3 server issues none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from support.s3 import S3

PROGRAM = """\
expires=$(date --utc --date "+$(cat {folder}/seconds) seconds" +%Y-%m-%dT%H:%M:%SZ)
printf '{{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s", "Expiration": "%s"}}' {key} {secret} $expires
"""


@dataclass(frozen=True)
class TemporaryCredentials:
    folder: Path

    def live(self, seconds: int) -> None:
        """Makes the credentials that are fetched from now on expire after ``seconds``."""
        (self.folder / "seconds").write_text(str(seconds))


def temporary_credentials(s3: S3, folder: Path, monkeypatch: pytest.MonkeyPatch) -> TemporaryCredentials:
    """Makes the credentials of the owner of ``s3`` temporary."""
    found = TemporaryCredentials(folder)
    (folder / "program").write_text(PROGRAM.format(folder=folder, key=s3.access_key, secret=s3.secret_key))
    (folder / "config").write_text(f"[default]\ncredential_process = sh {folder}/program\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    return found
