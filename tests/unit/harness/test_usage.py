"""Counting the operator's writes in an audit log."""

from __future__ import annotations

import json
from pathlib import Path

from harness.usage import USER, writes_in


def line(verb: str, user: str = USER, **more: object) -> str:
    return json.dumps({"verb": verb, "user": {"username": user}, **more}) + "\n"


def test_only_writes_by_the_operator_count(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(
        line("patch")
        + line("create")
        + line("get")
        + line("patch", "system:node:n1")
        + line("update", "admin", impersonated=USER)
    )
    assert writes_in(log) == 2
