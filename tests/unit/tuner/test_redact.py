"""Values of secrets, kept out of texts, lines and results."""

from __future__ import annotations

import pytest

from support.objects import proof
from tunecast_core.records.job import RankResult
from tunecast_core.records.manifest import LayerNote
from tunecast_tuner.proof.redact import Redactor

VALUE = b"hf_0123456789"


@pytest.mark.parametrize(
    ("values", "line", "shown"),
    [
        ([VALUE], b"token hf_0123456789!\n", b"token [redacted]!\n"),
        ([VALUE], b"nothing\n", b"nothing\n"),
        ([VALUE, VALUE + b"-longer"], b"hf_0123456789-longer", b"[redacted]"),
        ([b"short"], b"a short one", b"a short one"),
        ([b'with "quotes"'], b'{"a": "with \\"quotes\\""}', b'{"a": "[redacted]"}'),
        ([b"\xff\xfe\xfd\xff\xfe\xfd"], b"raw \xff\xfe\xfd\xff\xfe\xfd", b"raw [redacted]"),
        ([VALUE + b"\n"], b"from a file: hf_0123456789!", b"from a file: [redacted]!"),
        ([b"first-line\nsecond-line\n"], b"it has second-line in it", b"it has [redacted] in it"),
        ([], b"hf_0123456789", b"hf_0123456789"),
    ],
)
def test_lines(values: list[bytes], line: bytes, shown: bytes) -> None:
    assert Redactor(values).line(line) == shown


def test_every_text_of_a_result() -> None:
    secret = VALUE.decode()
    layer = proof(60.0, 20.0, "Partial", f"rebuilt triton/{secret}")
    result = RankResult(
        0, succeeded=True, reason="Proved", message=secret, notes=(LayerNote("CUDA", "Unsafe", secret),), proof=layer
    )
    shown = Redactor([VALUE]).result(result)
    assert secret not in str(shown)
    assert (shown.reason, shown.notes[0].layer) == ("Proved", "CUDA")
    assert Redactor().result(result) == result
