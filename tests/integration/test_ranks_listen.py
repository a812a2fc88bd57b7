"""Ranks reach an engine as it serves: over TLS, on IPv6, at its own address."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ranks.attempt import Staged, attempt, staging
from tunecast_core.records import job

pytestmark = pytest.mark.integration


@pytest.fixture
def staged() -> Iterator[Staged]:
    with staging() as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Writes a key and a self-signed certificate for a Service's name, which no client could verify here."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "qwen3")])
    now = dt.datetime.now(dt.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    paths = (folder / "tls.key", folder / "tls.crt")
    paths[0].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    paths[1].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return paths


def succeeds(tmp_path: Path, staged: Staged, *arguments: str) -> None:
    with attempt(tmp_path, staged, 1, *arguments) as [rank]:
        assert rank.wait().succeeded, rank.text
    proof = staged.result(0).proof
    assert proof is not None
    assert (proof.verdict, proof.outputs) == ("Hit", "Identical")


@pytest.mark.parametrize("host", ["", "--host=::"])
def test_engine_with_tls(tmp_path: Path, staged: Staged, certificate: tuple[Path, Path], host: str) -> None:
    key, chain = certificate
    arguments = [f"--ssl-keyfile={key}", "--ssl-certf", str(chain), "--api-key=k", *filter(None, [host])]
    succeeds(tmp_path, staged, *arguments)


@pytest.mark.parametrize("host", ["::", "::1", "127.0.0.2"])
def test_engine_on_an_address_of_its_own(tmp_path: Path, staged: Staged, host: str) -> None:
    succeeds(tmp_path, staged, "--host", host)


def test_port_that_is_in_use_on_ipv6_only(tmp_path: Path, staged: Staged) -> None:
    """Otherwise the engine would listen there, and the rank would reach another process."""
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::1", 0))
        other.listen()
        with attempt(tmp_path, staged, 1, "--host=::", f"--port={other.getsockname()[1]}") as [rank]:
            result = rank.wait()
    assert (result.succeeded, result.reason) == (False, job.BAD_SETTINGS)
    assert "listens on port" in result.message
