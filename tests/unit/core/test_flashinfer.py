"""Autotune files as FlashInfer writes them, by version; tests/data/flashinfer/README.md describes the files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tunecast_core.bundle import flashinfer
from tunecast_core.bundle.flashinfer import (
    SIZE_LIMIT,
    AutotuneFile,
    absence,
    digest,
    file_names,
    keeps,
    keys,
    mismatches,
    no_file,
    objection,
    read,
    version,
)
from tunecast_core.bundle.layers import BY_NAME, is_rewritten, layer_of
from tunecast_core.errors import MalformedError

DATA = Path(__file__).parents[2] / "data" / "flashinfer"
FILES = sorted(path.stem for path in DATA.glob("*.json"))


def saved_by(flashinfer_version: str) -> AutotuneFile:
    path = DATA / f"{flashinfer_version}.json"
    return read(path.read_bytes(), path.name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.6.8.post1", (0, 6, 8)),
        ("0.26.0", (0, 26, 0)),
        ("0.26", (0, 26, 0)),
        ("0.26.1rc2+cu130", (0, 26, 1)),
        ("", None),
        ("unknown", None),
        ("7", None),
    ],
)
def test_versions(text: str, expected: object) -> None:
    assert version(text) == expected


def test_there_is_a_file_of_each_form() -> None:
    assert FILES == ["0.6.14", "0.6.18.post1", "0.6.8.post1", "0.7.1", "0.7.2.post1"]


@pytest.mark.parametrize("name", FILES)
def test_every_versions_file_is_read(name: str) -> None:
    found = saved_by(name)
    assert found.metadata["flashinfer_version"] == name
    assert len(found.tactics) == 6
    assert sorted(found.tactics.values())[:2] == [["CublasFp8GemmRunner", 1], ["CublasFp8GemmRunner", 1]]
    assert ["CutlassFp8GemmRunner", [128, 4]] in found.tactics.values()


def test_how_it_was_measured_and_the_files_own_digest_are_no_tactics() -> None:
    assert saved_by("0.6.18.post1").tactics == saved_by("0.6.14").tactics == saved_by("0.7.2.post1").tactics


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b'"text"',
        b'{"key": 1}',
        b'{"key": ["runner"]}',
        b'{"key": ["runner", 1, [], 2]}',
        b'{"_metadata": []}',
        b"[" * 100_000,
        b" " * (SIZE_LIMIT + 1),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_what_is_no_autotune_file(data: bytes) -> None:
    with pytest.raises(MalformedError, match="the file"):
        read(data, "the file")


def test_a_store_of_0_7_2_is_a_layers_but_no_file() -> None:
    [store] = DATA.glob("store-*")
    files = [path.relative_to(store) for path in store.rglob("*.json")]
    assert len(files) == 3
    for path in files:
        below = f"flashinfer/.cache/flashinfer/autotune/{path.as_posix()}"
        assert layer_of(below) is BY_NAME["FlashInferAutotune"]
        assert not is_rewritten(below, BY_NAME["FlashInferAutotune"])
    [entry, _] = store.rglob("entries/*.json")
    with pytest.raises(MalformedError):
        read(entry.read_bytes(), "an entry")


HERE = saved_by("0.6.14").metadata


@pytest.mark.parametrize(
    ("saved", "named"),
    [
        (HERE, []),
        ({}, []),  # without facts it fits everywhere
        (dict.fromkeys(HERE, "*"), []),
        ({**HERE, "another": "fact"}, []),
        ({**HERE, "gpu": "*", "cuda_version": "12.8"}, ["cuda_version"]),
        ({**HERE, "gpu": "NVIDIA A100"}, ["gpu"]),
        ({**HERE, "gpu": "unknown"}, ["gpu"]),
        (saved_by("0.6.8.post1").metadata, ["cudnn_frontend_version", "flashinfer_version"]),
    ],
)
def test_mismatches(saved: dict[str, str], named: list[str]) -> None:
    assert [fact.name for fact in mismatches(saved, HERE)] == named


def test_a_mismatch_is_described() -> None:
    older, newer = saved_by("0.6.18.post1").metadata, saved_by("0.7.1").metadata
    assert [str(fact) for fact in mismatches(older, newer)] == [
        "cutlass_dsl_version is 4.3.0 here, and was not recorded where it was tuned",
        "flashinfer_version is 0.7.1 here, and was 0.6.18.post1 where it was tuned",
    ]


def test_a_digest_is_of_the_tactics_alone() -> None:
    tactics = {"one": ["Runner", 1], "two": ["Runner", [128, 2]]}
    spelling = b'{"one":["Runner",1],"two":["Runner",[128,2]]}'
    assert digest(tactics) == hashlib.sha256(spelling).hexdigest()
    assert digest(dict(reversed(tactics.items()))) == digest(tactics)
    assert digest({**tactics, "one": ["Runner", 2]}) != digest(tactics)
    assert digest({**tactics, "one": ["Other", 1]}) != digest(tactics)


@pytest.mark.parametrize(
    ("flashinfer_version", "held"),
    [
        ("0.6.8.post1", "Shapes"),
        ("0.6.17", "Shapes"),
        ("0.6.18.post1", "ShapesAndRanks"),
        ("0.7.1", "ShapesAndRanks"),
        ("0.7.2.post1", "Shapes"),
        ("", "ShapesAndRanks"),
    ],
)
def test_what_keys_hold(flashinfer_version: str, held: str) -> None:
    assert keys(flashinfer_version) == held
    assert objection(flashinfer_version, 1) == ""
    assert bool(objection(flashinfer_version, 2)) == (held == "ShapesAndRanks")


EACH = ("autotune_configs_dp0_rank0.json", "autotune_configs_dp0_rank1.json")


@pytest.mark.parametrize(
    ("vllm", "ranks", "kept", "names", "words"),
    [
        ("0.21.0", 1, None, (), "what vLLM 0.21.0 keeps of its tuning is not known"),
        ("", 1, None, (), "(none found)"),
        ("0.22.1", 1, "Nothing", (), "keeps nothing of its tuning with 1 rank(s)"),
        ("0.26.0", 1, "File", ("autotune_configs.json",), ""),
        ("0.26.0", 2, "Nothing", (), "keeps nothing of its tuning with 2 rank(s)"),
        ("0.27.0", 1, None, (), "not known"),
        ("0.32.0", 1, "FilePerRank", EACH[:1], ""),
        ("0.32.0", 2, "FilePerRank", EACH, ""),
        ("0.33.0", 1, "Store", (), "FlashInfer's own store, which only an engine fills"),
        ("0.33.0", 2, "FilePerRank", EACH, ""),
    ],
)
def test_what_vllm_keeps(vllm: str, ranks: int, kept: str | None, names: tuple[str, ...], words: str) -> None:
    assert keeps(vllm, ranks) == kept
    assert file_names(vllm, ranks) == names
    assert bool(names) == (no_file(vllm, ranks) == "")
    assert words in no_file(vllm, ranks)


@pytest.mark.parametrize("name", [flashinfer.FILE, *EACH])
def test_engines_write_these_back_at_every_start(name: str) -> None:
    assert is_rewritten(f"vllm/flashinfer_autotune_cache/0.6.14/90a/h/{name}", BY_NAME["FlashInferAutotune"])


@pytest.mark.parametrize(
    ("versions", "ranks", "tuned_nothing", "words"),
    [
        ({"vllm": "0.26.0"}, 2, True, None),  # without FlashInfer there is no note
        ({"vllm": "0.26.0", "flashinfer-python": "0.6.14"}, 1, True, "no operator to tune"),
        ({"vllm": "0.26.0", "flashinfer-python": "0.6.14"}, 2, False, "vLLM 0.26.0 keeps nothing"),
        ({"vllm": "0.26.0", "flashinfer-python": "0.6.14"}, 1, False, None),
        ({"flashinfer-python": "0.6.14"}, 1, False, None),
    ],
)
def test_why_an_engine_left_no_file(
    versions: dict[str, str], ranks: int, tuned_nothing: bool, words: str | None
) -> None:
    note = absence(versions, ranks, tuned_nothing=tuned_nothing)
    assert (note is None) == (words is None)
    assert note is None or (note.state == "NotCacheable" and (words or "") in note.reason)
