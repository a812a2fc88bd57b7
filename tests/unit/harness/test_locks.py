"""The images' dependencies are parts of the one lock file, so that images hold what was tested."""

from __future__ import annotations

import re

import pytest

from harness.deploy import ROOT


def pinned(folder: str) -> set[str]:
    """Each dependency with its version and hashes."""
    return set(re.split(r"\n(?=\S)", (ROOT / folder / "requirements.lock").read_text().strip()))


@pytest.mark.parametrize("package", ["operator", "initcontainer"])
def test_an_image_has_what_was_tested(package: str) -> None:
    assert pinned(package)
    assert pinned(package) <= pinned(".")
