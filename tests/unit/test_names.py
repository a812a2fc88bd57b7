"""One name, one concept: no two modules of the packages define a class of the same name."""

from __future__ import annotations

import ast
from collections import defaultdict

from harness.deploy import ROOT

PACKAGES = ("operator", "core", "tuner", "initcontainer")


def test_no_two_modules_share_a_class_name() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(str(path.relative_to(ROOT)))
    assert len(modules) > 100
    assert {name: found for name, found in modules.items() if len(found) > 1} == {}
