"""What fuzzing calls: each reader of bytes that somebody else wrote. Only our own errors may come out.

A target returns, or raises AssertionError where something holds that must not, or lets any other exception through.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.archives import forged
from support.objects import manifest, proof
from tunecast_cache import bundle, flashinfer
from tunecast_cache.archive import END, Entry, encode_index
from tunecast_cache.errors import TunecastError
from tunecast_cache.hardware import UNKNOWN
from tunecast_cache.job import JobSettings, Progress, RankResult
from tunecast_cache.layers import layer_of
from tunecast_cache.manifest import Archive, Manifest, RankProof
from tunecast_cache.records import canonical, decode
from tunecast_cache.report import InitReport
from tunecast_cache.signing import Signer, verify
from tunecast_cache.trust import StoreSettings, Trust
from tunecast_init.belief import believe
from tunecast_init.trust import RefusedError
from tunecast_operator.publisher import check_archives, check_environment
from tunecast_tuner.workloads.engine import Offer

SIGNER = Signer(bytes(range(32)))
TRUST = Trust(StoreSettings("bundles"), {SIGNER.signer: SIGNER.public_key})
KEY, NAMESPACE = "k" * 52, "models"
FILES = 64  # in one archive, at the most
UNPACKED = 2**16
MEMORY = Path("/dev/shm")
ROOT = (MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())) / f"tunecast-fuzz-{os.getpid()}"
CANARY = b"untouched"
NAMES = (
    b"triton/a", b"triton/a/b", b"triton/../../x", b"/etc/x", b"triton//x", b"triton/.", b"cuda/x", b"triton/x.lock",
    b"triton/" + b"n" * 300, b"triton/\xff", b"triton/a\nb", b"", b"..", b"triton/.tunecast-staging/x",
)  # fmt: skip


class Bytes:
    """Choices read from fuzzed bytes; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found + bytes(count - len(found))

    def number(self, below: int) -> int:
        return int.from_bytes(self.take(4), "big") % below

    @property
    def left(self) -> bool:
        return self._at < len(self._data)


def record(kind: type[Any]) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        try:
            found = decode(kind, data, "fuzzed")
        except TunecastError:
            return
        assert decode(kind, canonical(found), "again") == found, "what is read and written is read alike"

    return target


def envelope(data: bytes) -> None:
    """Whatever is believed was signed as it is."""
    try:
        payload, signer = verify(data, TRUST.keys)
    except TunecastError:
        return
    [ours] = json.loads(SIGNER.sign(payload))["signatures"]
    theirs = [s["sig"] for s in json.loads(data)["signatures"] if s["keyid"] == signer]
    assert signer == SIGNER.signer
    assert base64.b64decode(theirs[-1]) == base64.b64decode(ours["sig"])  # base64 has several spellings of some bytes


def belief(data: bytes) -> None:
    """A manifest that our own key signed, with any content: a rank may have had a say in it."""
    try:
        found = believe(SIGNER.sign(data), TRUST, NAMESPACE, KEY, UNKNOWN)
    except (TunecastError, RefusedError):
        return
    assert (found.manifest.namespace, found.manifest.key, found.manifest.hardware) == (NAMESPACE, KEY, UNKNOWN)


def staged(data: bytes) -> None:
    """What rank 0 staged, as the operator checks it before it publishes."""
    try:
        result = decode(RankResult, data, "fuzzed")
        check_archives(result.archives, "job")
        environment = check_environment(result.environment, "job")
    except TunecastError:
        return
    assert environment.keys() <= {"PYTHONPYCACHEPREFIX", "PYTHONPATH"}


def tactics(data: bytes) -> None:
    try:
        flashinfer.digest(flashinfer.read(data, "fuzzed").tactics)
    except TunecastError:
        return


def archive(data: bytes) -> None:
    """The bytes of an archive, which its manifest knows."""
    path = _fresh() / "archive"
    path.write_bytes(data)
    _unpacked(path, Archive("Triton", hashlib.sha256(data).hexdigest(), len(data), 8, 2))


def layout(data: bytes) -> None:
    """Archives that are whole, and whose index and tar were chosen by the bytes."""
    chosen, path = Bytes(data), _fresh() / "archive"
    entries: list[Entry] = []
    while chosen.left and len(entries) < FILES:
        name = chosen.take(1 + chosen.number(20)) if chosen.number(3) == 0 else NAMES[chosen.number(len(NAMES))]
        size = (0, 1, 511, 512, 513, 4096, -1, 2**40)[chosen.number(8)]
        text = name.decode(errors="surrogateescape" if chosen.number(9) == 0 else "replace")
        entries.append(Entry(text, size, chosen.number(2**31) - 2**30, executable=bool(chosen.number(2))))
    try:
        _unpacked(path, _forge(path, entries, chosen))
    except UnicodeEncodeError:
        return  # no JSON can hold it


def _forge(path: Path, entries: list[Entry], chosen: Bytes) -> Archive:
    honest = all(0 <= e.size <= UNPACKED for e in entries)
    if honest and chosen.number(2):
        return forged(path, entries, None)
    tar = b"".join(chosen.take(chosen.number(700)) for _ in range(chosen.number(4))) + END
    return forged(path, entries, tar, unpacked=sum(e.size for e in entries))


def _fresh() -> Path:
    shutil.rmtree(ROOT, ignore_errors=True)
    (ROOT / "mount").mkdir(parents=True)
    (ROOT / "canary").write_bytes(CANARY)
    return ROOT


def _unpacked(path: Path, expected: Archive) -> None:
    """Nothing but regular files of the layer, below the mount path; or nothing at all."""
    mount = ROOT / "mount"
    try:
        bundle.unpack(path, mount, expected)
    except TunecastError:
        assert not [*mount.rglob("*")], "an archive that is refused leaves nothing"
    for found in mount.rglob("*"):
        assert not found.is_symlink()
        if found.is_file():
            layer = layer_of(str(found.relative_to(mount)))
            assert layer is not None
            assert layer.name == expected.layer
            assert not found.stat().st_mode & 0o7000
    assert {entry.name for entry in ROOT.iterdir()} == {"mount", "canary", path.name}
    assert (ROOT / "canary").read_bytes() == CANARY


TARGETS: dict[str, Callable[[bytes], None]] = {
    "manifest": record(Manifest),
    "report": record(InitReport),
    "result": record(RankResult),
    "settings": record(JobSettings),
    "progress": record(Progress),
    "trust": record(Trust),
    "offer": record(Offer),
    "rank-proof": record(RankProof),
    "envelope": envelope,
    "belief": belief,
    "staged": staged,
    "tactics": tactics,
    "archive": archive,
    "layout": layout,
}


BINARY = {"archive", "layout"}  # all others read JSON


def seeds() -> dict[str, list[bytes]]:
    """Something valid for each target to begin with."""
    whole = canonical(manifest(KEY))
    result = RankResult(0, succeeded=True, reason="Proved", message="", archives=manifest(KEY).archives, proof=proof())
    entries = [Entry("triton/a", 4, 1, executable=False), Entry("triton/b", 4, 2, executable=True)]
    path = _fresh() / "archive"
    forged(path, entries)
    packed = path.read_bytes()
    shutil.rmtree(ROOT)
    tuned = {"_metadata": {"gpu": "H100"}, "('gemm', 'Runner', ((1, 2),), ())": ["Runner", 3]}
    return {
        "manifest": [whole],
        "report": [canonical(InitReport("Hit", "Installed", "", KEY, layers=("Triton",), seconds={"total": 1.0}))],
        "result": [canonical(result)],
        "settings": [canonical(JobSettings("job", KEY, 2, "host", 1, "Engine", 8000, "/m", 1.0))],
        "progress": [canonical(Progress("Upload", 1.0, 5))],
        "trust": [canonical(Trust(TRUST.store, TRUST.keys, ("d" * 64,)))],
        "offer": [canonical(Offer(manifest(KEY).archives, {}, (), 0, ((), ()), {"A": "b"}))],
        "rank-proof": [canonical(proof().ranks[0])],
        "envelope": [SIGNER.sign(whole), base64.b64encode(whole)],
        "belief": [whole],
        "staged": [canonical(result)],
        "tactics": [json.dumps(tuned).encode()],
        "archive": [packed, encode_index(entries, [10]), packed[: len(packed) // 2]],
        "layout": [bytes(range(64)), b"\x01" * 40],
    }
