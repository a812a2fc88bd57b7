"""Values of the chart that only the operator can check."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.authority import Authority
from tunecast_core.store.transport import Transport
from tunecast_operator.runtime.installation import InstallationError, from_environment

REQUIRED = {"TUNECAST_BUCKET": "bundles", "TUNECAST_NAMESPACE": "tunecast-system", "TUNECAST_INIT_IMAGE": "init:1"}


def test_certificates_and_proxy_are_the_stores(tmp_path: Path) -> None:
    pem = Authority().pem
    (tmp_path / "ca.crt").write_text(f"# ours\n{pem}")
    given = {"TUNECAST_CA_FILE": str(tmp_path / "ca.crt"), "TUNECAST_PROXY": "http://proxy:3128"}
    assert from_environment({**REQUIRED, **given}).store.transport == Transport(pem, "http://proxy:3128")


@pytest.mark.parametrize("text", ["", "no certificate", None])
def test_a_file_without_certificates_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "ca.crt").write_text(text)
    with pytest.raises(InstallationError, match=r"ca.crt.*s3.caCertificates"):
        from_environment({**REQUIRED, "TUNECAST_CA_FILE": str(tmp_path / "ca.crt")})


@pytest.mark.parametrize("name", REQUIRED)
def test_a_variable_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(InstallationError, match=name) as raised:
        from_environment({**REQUIRED, name: ""})
    assert raised.value.reason == "BadInstallation"


def test_an_addressing_style_that_there_is_not_is_named() -> None:
    with pytest.raises(InstallationError, match=r"'virtual': set it to one of Auto, Virtual, Path"):
        from_environment({**REQUIRED, "TUNECAST_ADDRESSING_STYLE": "virtual"})


def test_empty_values_are_none() -> None:
    """An upgrade that reuses an earlier release's values has empty values."""
    given = {"TUNECAST_CA_FILE": "", "TUNECAST_PROXY": "", "TUNECAST_ADDRESSING_STYLE": "", "TUNECAST_ENDPOINT": ""}
    assert from_environment({**REQUIRED, **given}).store == from_environment(REQUIRED).store


def test_the_webhook_is_managed_where_all_its_objects_are_named() -> None:
    named = {f"TUNECAST_WEBHOOK_{name}": "tunecast-webhook" for name in ("SECRET", "CONFIGURATION", "SERVICE")}
    assert from_environment({**REQUIRED, **named}).manages_webhook
    for name in named:
        assert not from_environment({**REQUIRED, **named, name: ""}).manages_webhook
    assert not from_environment(REQUIRED).manages_webhook
