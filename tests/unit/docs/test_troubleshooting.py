"""Every reason in the code has a line in docs/troubleshooting.md, and every line is about such a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunecast_core.records import job, report
from tunecast_operator.conditions import Reason
from tunecast_operator.plan.outcome import AttemptReason

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "troubleshooting.md"
SOURCES = ("operator/tunecast_operator", "tuner/tunecast_tuner", "core/tunecast_core", "initcontainer/tunecast_init")
OPERATORS_OWN = ("InferenceDeployment", "StartupCache", "Adopted pods", "The operator")


def constants(module: object) -> set[str]:
    """Returns the CamelCase words among a module's constants, which are reasons."""
    found = {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
    return {value for value in found if re.fullmatch(r"([A-Z][a-z]+)+(GPU)?", value)}


def errors_reasons(folder: str) -> set[str]:
    """Returns the ``reason = "..."`` of every class below ``folder``."""
    return {reason for path in (ROOT / folder).rglob("*.py") for reason in _class_reasons(ast.parse(path.read_text()))}


def _class_reasons(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for line in node.body if isinstance(node, ast.ClassDef) else ():
            match line:
                case ast.Assign(targets=[ast.Name(id="reason")], value=ast.Constant(value=str(reason))):
                    yield reason


def sections() -> dict[str, set[str]]:
    """Returns the reasons in the first column of each section's table."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    tables = dict(zip(parts[::2], parts[1::2], strict=True))
    return {
        title: set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
        for title, text in tables.items()
        if re.search(r"^\| Reason \|", text, flags=re.MULTILINE)
    }


@pytest.mark.parametrize(
    ("titles", "reasons"),
    [
        (("InferenceDeployment", "StartupCache", "Adopted pods"), set(Reason)),
        (("Attempts",), constants(job) | set(AttemptReason)),
        (("Init containers",), constants(report)),
        (("Init containers",), errors_reasons(SOURCES[2]) | errors_reasons(SOURCES[3])),
        (OPERATORS_OWN, errors_reasons(SOURCES[0])),
    ],
    ids=["conditions", "attempts", "reports", "errors of init containers", "errors of the operator"],
)
def test_every_reason_has_a_line(titles: tuple[str, ...], reasons: set[str]) -> None:
    documented = set().union(*(sections()[title] for title in titles))
    assert reasons, "nothing was found in the code: has it moved?"
    assert sorted(reasons - documented) == []


def test_no_line_is_about_a_reason_that_no_code_gives() -> None:
    given = {*Reason, *AttemptReason, *constants(job), *constants(report)}
    given |= set().union(*(errors_reasons(folder) for folder in SOURCES))
    assert sorted(set().union(*sections().values()) - given) == []
