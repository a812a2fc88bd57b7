"""Prints the raw figures of one run as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SHOWN = 0.05  # seconds; shorter phases are left out
RUNS = ("import", "jit", "tuning", "load", "replay")  # phases of the process that runs the FlashInfer operators


def show(out: Path) -> None:
    """Prints every table for which ``out`` has files."""
    for name, value in sorted(_load(out, "facts.json").items()):
        print(f"{name}: {value}")
    engine = _load(out, "engine.json")
    if engine and not engine.get("proof"):
        print(f"engine: {engine['reason']}: {engine['message']}")
    elif engine:
        _starts(out, engine)
        _bundle(engine)
    _rows(out)
    _throughput(out)
    _operators(out)


def _load(out: Path, name: str) -> dict[str, Any]:
    path = out / name
    return json.loads(path.read_text()) if path.exists() else {}


def _starts(out: Path, engine: dict[str, Any]) -> None:
    proof = engine["proof"]
    rows = [("rank 0, cold", proof["cold"], 0.0)]
    rows += [(f"rank {rank['rank']}, warm", rank["warm"], 0.0) for rank in proof["ranks"]]
    init = _load(out, "init.json").get("seconds", 0.0)
    for name in ("replica", "cold"):
        if row := _load(out, f"row-{name}.json"):
            start = {**row["start"], "firstTokenSeconds": row["first_token_seconds"]}
            rows.append((f"{name} (fresh process)", start, init if name == "replica" else 0.0))
    names = sorted({phase for _, start, _ in rows for phase, seconds in start["phases"].items() if seconds > SHOWN})
    table(
        ["start", "init program s", "to /health s", "to first token s", "engine init s", *names],
        [
            [
                name,
                f"{before:.2f}" if before else "-",
                start["totalSeconds"],
                round(before + start.get("firstTokenSeconds", 0.0), 2) or "-",
                start.get("initSeconds", "-"),
                *(start["phases"].get(phase, 0.0) for phase in names),
            ]
            for name, start, before in rows
        ],
    )


def _bundle(engine: dict[str, Any]) -> None:
    proved = {layer["layer"]: layer for rank in engine["proof"]["ranks"] for layer in rank["layers"]}
    table(
        ["layer", "files", "raw MB", "packed MB", "verdict", "rebuilt", "reason"],
        [
            [
                archive["layer"],
                archive["files"],
                f"{archive['unpacked'] / 1e6:.1f}",
                f"{archive['size'] / 1e6:.1f}",
                proved[archive["layer"]]["verdict"],
                proved[archive["layer"]]["rebuilt"],
                proved[archive["layer"]].get("reason", ""),
            ]
            for archive in engine["archives"]
        ],
    )
    for note in engine["notes"]:
        if note["state"] != "Cached":
            print(f"{note['layer']}: {note['state']}: {note.get('reason', '')}")
    print(f"verdict {engine['proof']['verdict']}, outputs {engine['proof']['outputs']}")


def _rows(out: Path) -> None:
    found = [json.loads(path.read_text()) for path in sorted(out.glob("row-*.json"))]
    for row in found:
        if failure := row.get("failure"):
            print(f"{row['name']}: {failure['reason']}: {failure['message']}")
    proved = [row for row in found if "proof" in row]
    if not proved:
        return
    table(
        ["warm start", "to first token s", "engine init s", "layers that didn't hit", "reason"],
        [
            [
                row["name"],
                row["proof"]["warm"].get("firstTokenSeconds", "-"),
                row["proof"]["warm"].get("initSeconds", "-"),
                ", ".join(
                    f"{layer['layer']} {layer['verdict']} ({layer['rebuilt']} of {layer['files']})"
                    for layer in row["proof"]["layers"]
                    if layer["verdict"] != "Hit"
                )
                or "-",
                "; ".join(layer["reason"] for layer in row["proof"]["layers"] if layer.get("reason"))[:300],
            ]
            for row in proved
        ],
    )


def _throughput(out: Path) -> None:
    rows = [(name, _load(out, f"row-{name}.json")) for name in ("cold", "replica")]
    rows = [(name, row) for name, row in rows if row.get("throughput")]
    if rows:
        loads = [f"{load['at_once']} at once, {load['prompt']} + {load['new']}" for load in rows[0][1]["throughput"]]
        table(
            ["output tokens/s", *loads],
            [[name, *(str(load["tokens_per_second"]) for load in row["throughput"])] for name, row in rows],
        )


def _operators(out: Path) -> None:
    if result := _load(out, "operators.json"):
        proof = result["proof"]
        table(
            ["operators", "whole s", "import s", "jit s", "tuning s", "load s", "replay s"],
            [
                _phases("rank 0, tuned", proof["cold"]),
                *(_phases(f"rank {rank['rank']}, replayed", rank["warm"]) for rank in proof["ranks"]),
            ],
        )
        for rank in proof["ranks"]:
            print(f"rank {rank['rank']}: {rank['tactics']}")
    for name in ("sigkill", "sigterm"):
        if killed := _load(out, f"operators-{name}.json"):
            print(f"{name} of rank 0 while it tunes: {killed}")


def _phases(name: str, start: dict[str, Any]) -> list[Any]:
    return [
        name,
        start["totalSeconds"],
        *(start["phases"].get(phase, "-") for phase in RUNS),
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints one table as Markdown."""
    print()
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
