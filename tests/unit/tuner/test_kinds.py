"""The requests to each kind of engine, and how their answers are read."""

from __future__ import annotations

import io
import wave

import pytest

from tunecast_tuner.engine.client import Reply
from tunecast_tuner.engine.kinds import KINDS, NUMBERS, computed, generated, heard, recording, words
from tunecast_tuner.proof.outputs import Answer


def test_token_ids_are_tried_before_text_and_generation_before_all_else() -> None:
    assert [(kind.name, kind.text) for kind in KINDS] == [
        ("Completion", False), ("Completion", True), ("Chat", True), ("Transcription", False),
        ("Embedding", False), ("Embedding", True), ("Score", True), ("Classification", False),
        ("Classification", True), ("Pooling", False), ("Pooling", True),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.route}-{kind.text}")
def test_requests_are_the_same_on_every_rank_and_others_for_another_seed(kind: object) -> None:
    first, same, other = (kind.request("m", 20, seed) for seed in (1, 1, 2))  # type: ignore[attr-defined]
    assert first == same
    assert first != other


def test_chat_requests_log_probabilities_with_their_own_field() -> None:
    [chat] = [kind for kind in KINDS if kind.name == "Chat"]
    assert {"logprobs": True, "top_logprobs": 0}.items() <= chat.request("m", 3, 1, logprobs=0).items()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"choices": [{"token_ids": [1, 2], "text": "ab"}]}, "[1, 2]"),
        ({"choices": [{"text": "a", "token_ids": None}]}, "a"),
        ({"choices": [{"text": ""}]}, ""),
        ({"choices": [{"message": {"content": "a"}}]}, "a"),
        ({"choices": [{"message": {"content": None, "reasoning_content": "r"}}]}, "r"),
        ({"choices": [{"message": {"content": "a"}, "token_ids": [3]}]}, "[3]"),
        ({"choices": ["odd"]}, ""),
        ({"choices": [{"message": None}]}, ""),
        ({}, ""),
    ],
)
def test_generated_answers(body: dict[str, object], expected: str) -> None:
    assert generated(Reply(200, body)) == Answer(expected)
    assert generated(Reply(500, body)) == Answer()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": [{"embedding": [0.5, -1]}]}, (0.5, -1.0)),
        ({"data": [{"score": 0.25}]}, (0.25,)),
        ({"data": [{"probs": [0.1, 0.9], "label": "x"}]}, (0.1, 0.9)),
        ({"data": [{"data": [[1, 2], [3, 4]]}]}, (1.0, 2.0, 3.0, 4.0)),
        ({"results": [{"index": 0, "relevance_score": 0.5}]}, (0.5,)),
        ({"data": [{"embedding": "b64"}]}, ()),
        ({"data": [{"embedding": [float("nan")]}]}, ()),
        ({"data": []}, ()),
        ({}, ()),
    ],
)
def test_computed_answers(body: dict[str, object], expected: tuple[float, ...]) -> None:
    assert computed(Reply(200, body)) == Answer(numbers=expected)
    assert computed(Reply(400, body)) == Answer()


@pytest.mark.parametrize("size", [NUMBERS, NUMBERS + 1, 4096, 100_001])
def test_of_a_long_vector_as_many_numbers_are_kept_as_are_compared(size: int) -> None:
    found = computed(Reply(200, {"data": [{"embedding": [float(i) for i in range(size)]}]})).numbers
    assert NUMBERS / 2 <= len(found) <= NUMBERS
    assert found[-1] > size * 0.98


def test_recordings_are_wav_files_of_some_seconds() -> None:
    for tokens, seconds in ((1, 0.5), (100, 10.0), (5000, 40.0)):
        with wave.open(io.BytesIO(recording(tokens, 3))) as file:
            assert file.getnframes() / file.getframerate() == seconds
            assert any(file.readframes(100))
    assert heard(Reply(200, {"text": "hello"})) == Answer("hello")
    assert not heard(Reply(200, {"text": ""}))


def test_a_text_has_the_requested_number_of_words() -> None:
    assert [len(words(n, 1).split()) for n in (0, 1, 15)] == [1, 1, 15]
