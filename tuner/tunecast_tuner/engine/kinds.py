"""The kinds of engines: the route, the requests, and the comparable answers of each. Pure.

Source: vLLM 0.32, which serves only the routes of the model's task. Older versions serve all routes and refuse
requests of other tasks.
"""

from __future__ import annotations

import io
import math
import wave
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tunecast_tuner.engine.client import Reply
from tunecast_tuner.proof.outputs import Answer

Body = dict[str, Any]
CHAT = "/v1/chat/completions"
NUMBERS = 256  # maximum count of an answer's numbers that are compared
SAMPLE_RATE = 16_000
AUDIO_SECONDS = (0.5, 40.0)  # the shortest and the longest recording; models process 30 s at a time
TOKEN_SECONDS = 0.1  # length of a recording that stands for one token
WORDS = ("time", "water", "house", "world", "light", "river", "stone", "green", "table", "music", "paper")


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One kind of request that an engine may accept."""

    name: str
    route: str
    content: Callable[[int, int], Body]  # (number of tokens or words, seed) -> content of a request
    read: Callable[[Reply], Answer]
    fixed: Body = field(default_factory=dict)  # fields of every request
    generates: bool = False  # whether the engine generates tokens, so that samplers and grammars apply
    text: bool = False  # whether requests hold text, so that their number of tokens is approximate

    def request(self, model: str, tokens: int, seed: int, /, **options: Any) -> Body:
        """Returns a request of about ``tokens`` tokens. Sampling options apply only to kinds that generate."""
        return {"model": model, **self.content(tokens, seed), **self.fixed, **self._sampling(options)}

    def _sampling(self, options: Body) -> Body:
        if self.route == CHAT and "logprobs" in options:
            options = {**options, "logprobs": True, "top_logprobs": options["logprobs"]}
        return options if self.generates else {}


def prompt(length: int, seed: int) -> list[int]:
    """Returns token IDs that are in any vocabulary and share no prefix with those of another seed."""
    return [3 + (seed * 31 + index * (seed % 7 + 1)) % 190 for index in range(length)]


def words(length: int, seed: int) -> str:
    """Returns a prompt as text, for engines that accept no token IDs."""
    return " ".join(WORDS[token % len(WORDS)] for token in prompt(max(1, length), seed))


def recording(length: int, seed: int) -> bytes:
    """Returns a WAV file with a rising tone, whose duration grows with ``length``."""
    shortest, longest = AUDIO_SECONDS
    samples = int(SAMPLE_RATE * min(longest, max(shortest, length * TOKEN_SECONDS)))
    tones = (math.sin((200 + seed % 7 * 40 + 400 * i / samples) * math.tau * i / SAMPLE_RATE) for i in range(samples))
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(SAMPLE_RATE)
        audio.writeframes(array("h", (int(12_000 * tone) for tone in tones)).tobytes())
    return file.getvalue()


def generated(reply: Reply) -> Answer:
    """Reads generated token IDs, or else text, which is equal if the tokens are."""
    choices = reply.body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    parts = [message.get(part) for part in ("reasoning", "reasoning_content", "content")]
    output = choice.get("token_ids") or choice.get("text") or "".join(str(part) for part in parts if part)
    return Answer(str(output)) if reply.ok and output else Answer()


def heard(reply: Reply) -> Answer:
    """Reads the transcript of a recording."""
    return Answer(str(reply.body.get("text", ""))) if reply.ok else Answer()


def computed(reply: Reply) -> Answer:
    """Reads a vector, probabilities or a score. A long vector is sampled evenly to at most NUMBERS numbers."""
    items = reply.body.get("data") or reply.body.get("results")
    item = items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else {}
    names = ("embedding", "probs", "score", "relevance_score", "data")
    numbers = _flat(next((item[name] for name in names if name in item), None))
    if not reply.ok or not all(math.isfinite(number) for number in numbers):
        return Answer()
    step = max(1, math.ceil(len(numbers) / NUMBERS))
    return Answer(numbers=tuple(numbers[::step]))


def _flat(value: Any) -> list[float]:
    if isinstance(value, list):
        return [number for item in value for number in _flat(item)]
    return [float(value)] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def _input(tokens: int, seed: int) -> Body:
    return {"input": prompt(tokens, seed)}


def _text_input(tokens: int, seed: int) -> Body:
    return {"input": words(tokens, seed)}


def _pair(tokens: int, seed: int) -> Body:
    return {"text_1": words(tokens // 2, seed), "text_2": words(tokens // 2, seed + 1)}


def _message(tokens: int, seed: int) -> Body:
    return {"messages": [{"role": "user", "content": words(tokens, seed)}]}


_GREEDY = {"temperature": 0, "ignore_eos": True}
# An engine is of the first kind that it accepts. Token IDs precede text, because they need no tokenizer.
KINDS = (
    EngineKind(
        "Completion", "/v1/completions", lambda n, s: {"prompt": prompt(n, s)}, generated, _GREEDY, generates=True
    ),
    EngineKind(
        "Completion",
        "/v1/completions",
        lambda n, s: {"prompt": words(n, s)},
        generated,
        _GREEDY,
        generates=True,
        text=True,
    ),
    EngineKind("Chat", CHAT, _message, generated, _GREEDY, generates=True, text=True),
    EngineKind(
        "Transcription",
        "/v1/audio/transcriptions",
        lambda n, s: {"file": recording(n, s)},
        heard,
        {"temperature": 0, "language": "en", "max_completion_tokens": 16},
    ),
    EngineKind("Embedding", "/v1/embeddings", _input, computed),
    EngineKind("Embedding", "/v1/embeddings", _text_input, computed, text=True),
    EngineKind("Score", "/score", _pair, computed, text=True),
    EngineKind("Classification", "/classify", _input, computed),
    EngineKind("Classification", "/classify", _text_input, computed, text=True),
    EngineKind("Pooling", "/pooling", _input, computed),
    EngineKind("Pooling", "/pooling", _text_input, computed, text=True),
)
