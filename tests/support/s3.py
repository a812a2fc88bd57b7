"""Runs a real S3 server (versitygw) with a bucket for tests."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.authority import Authority
from testcluster.builds import programs
from testcluster.cache import Cache
from tunecast_core.store.s3 import connect
from tunecast_core.store.transport import DIRECT, Transport
from tunecast_core.trust.settings import StoreSettings

READY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class S3:
    """The address of a running server, its bucket and the owner's credentials."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    transport: Transport = DIRECT

    @property
    def environment(self) -> dict[str, str]:
        """Returns variables with the credentials, which also keep boto3 from looking anywhere else."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def settings(self, prefix: str = "") -> StoreSettings:
        return StoreSettings(self.bucket, prefix, self.endpoint, transport=self.transport)


def program() -> Path:
    """Returns the path of versitygw, which is built on first use; TUNECAST_VERSITYGW overrides it."""
    if given := os.environ.get("TUNECAST_VERSITYGW"):
        return Path(given)
    return programs(Cache.from_environment()) / "versitygw"


@contextmanager
def serving(folder: Path, authority: Authority | None = None, name: str = "127.0.0.1") -> Iterator[S3]:
    """Runs a server on loopback that keeps its objects below ``folder``, with TLS if there is an ``authority``.

    ``name`` is a host name that the certificate is valid for besides the address.
    """
    scheme, transport = ("https", Transport(authority.pem)) if authority else ("http", DIRECT)
    address = f"127.0.0.1:{_free_port()}"
    found = S3(f"{scheme}://{address}", "bundles", "owner", secrets.token_hex(16), transport)
    for directory in ("data", "sidecar"):
        (folder / directory).mkdir()
    command = [str(program()), f"--port={address}", "--region=us-east-1", "--quiet"]
    if authority:
        files = authority.server(folder, name, "127.0.0.1")
        command += [f"--cert={files.certificate}", f"--key={files.key}"]
    command += ["posix", "--sidecar", str(folder / "sidecar"), str(folder / "data")]
    keys = {"ROOT_ACCESS_KEY": found.access_key, "ROOT_SECRET_KEY": found.secret_key}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=keys, stdout=log, stderr=log) as server:
        try:
            _wait(found, server, folder / "log")
            _make_bucket(found)
            yield found
        finally:
            server.terminate()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(s3: S3, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while not _answers(s3):
        if time.monotonic() > until or server.poll() is not None:
            raise AssertionError(f"no S3 server at {s3.endpoint}: {log.read_text()}")
        time.sleep(0.02)


def _answers(s3: S3) -> bool:
    try:
        urllib.request.urlopen(s3.endpoint, timeout=1, context=s3.transport.tls()).close()
    except urllib.error.HTTPError as refused:
        refused.close()
    except OSError:
        return False
    return True


def _make_bucket(s3: S3) -> None:
    before = {name: os.environ.get(name) for name in s3.environment}
    os.environ.update(s3.environment)
    try:
        client = connect(s3.settings())
        client.create_bucket(Bucket=s3.bucket)
        client.close()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
