"""Why engines exit, from what they really print."""

from __future__ import annotations

import pytest

from tunecast_cache import job
from tunecast_tuner.diagnosis import diagnose, refusal
from tunecast_tuner.failures import AttemptError

CORE = "(EngineCore pid=798) ERROR 11-23 15:30:31 [core.py:1100] "
GENERIC = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
)
CASES = {
    "usage": (
        2,
        ["usage: vllm serve", "vllm serve: error: unrecognized arguments: --frobnicate"],
        job.ENGINE_REJECTED,
        "--frobnicate",
    ),
    "exit status of argparse alone": (2, ["usage: engine"], job.ENGINE_REJECTED, "usage: engine"),
    "pydantic": (
        1,
        [
            "Traceback (most recent call last):",
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
            "  Value error, User-specified max_model_len (9000) is greater than the derived max_model_len",
            "    For further information visit https://errors.pydantic.dev/2.12/v/value_error",
        ],
        job.ENGINE_REJECTED,
        "User-specified max_model_len (9000)",
    ),
    "no such model": (
        1,
        ["(APIServer pid=1) OSError: nosuch/model is not a local folder and is not a valid model identifier"],
        job.ENGINE_REJECTED,
        "nosuch/model",
    ),
    "no such module": (1, ["/usr/bin/python3: No module named vllm"], job.ENGINE_REJECTED, "No module named vllm"),
    "port taken": (1, ["OSError: [Errno 98] Address already in use"], job.ENGINE_REJECTED, "Address already in use"),
    "out of GPU memory": (
        1,
        [CORE + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", GENERIC],
        job.ENGINE_OUT_OF_MEMORY,
        "CUDA out of memory",
    ),
    "no room for the KV cache": (
        1,
        [
            CORE + "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
            GENERIC,
        ],
        job.ENGINE_OUT_OF_MEMORY,
        "No available memory",
    ),
    "killed": (-9, ["INFO loading"], job.ENGINE_OUT_OF_MEMORY, "SIGKILL"),
    "segmentation fault": (-11, ["INFO loading"], job.ENGINE_CRASHED, "SIGSEGV"),
    "the cause, not the news of it": (
        1,
        [CORE + "ValueError: something odd happened", "Traceback (most recent call last):", GENERIC],
        job.ENGINE_CRASHED,
        "something odd happened",
    ),
    "only the news": (1, [GENERIC], job.ENGINE_CRASHED, "Engine core initialization failed"),
    "silence": (0, [], job.ENGINE_CRASHED, "it printed nothing"),
}


@pytest.mark.parametrize(("code", "lines", "reason", "words"), CASES.values(), ids=CASES.keys())
def test_diagnose(code: int, lines: list[str], reason: str, words: str) -> None:
    failure = diagnose(code, lines)
    assert failure.reason == reason
    assert words in failure.message


def test_an_access_log_of_a_bad_request_is_no_rejection() -> None:
    lines = ["ValueError: guided decoding is not supported", "RuntimeError: CUDA error: an illegal memory access"]
    assert diagnose(1, lines).reason == job.ENGINE_CRASHED


ARTEFACT = "vllm/torch_compile_cache/71fff4fdac/rank_0_0/backbone/artifact_compile_range_1_8192_subgraph_0"
LOST = f"the engine exited with status 1: FileNotFoundError: [Errno 2] No such file or directory: '/old/{ARTEFACT}'"


def test_a_crash_of_a_warm_start_names_the_file_and_its_layer() -> None:
    told = refusal(AttemptError(job.ENGINE_CRASHED, LOST), [f"{ARTEFACT}0", ARTEFACT, "triton/k/c.cubin"], "/new")
    assert told.reason == job.WARM_START_FAILED
    assert told.message.startswith("Miss: ")
    assert told.message.endswith(f"{LOST}; that is {ARTEFACT} of TorchCompile, below /new here")


def test_a_crash_of_a_warm_start_that_names_no_file() -> None:
    told = refusal(AttemptError(job.ENGINE_CRASHED, "the engine was ended by SIGSEGV"), [ARTEFACT], "/new")
    assert (told.reason, told.message[-7:]) == (job.WARM_START_FAILED, "SIGSEGV")


@pytest.mark.parametrize("reason", [job.ENGINE_OUT_OF_MEMORY, job.ENGINE_REJECTED, job.TIMED_OUT, job.TERMINATED])
def test_what_has_a_cause_of_its_own_is_not_the_bundles_fault(reason: str) -> None:
    failure = AttemptError(reason, LOST)
    assert refusal(failure, [ARTEFACT], "/new") is failure
