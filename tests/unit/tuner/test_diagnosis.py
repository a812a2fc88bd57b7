"""Finding the cause of an engine's exit in real logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunecast_core.records import job
from tunecast_tuner.proof.diagnosis import diagnose, refusal
from tunecast_tuner.rank.failures import AttemptError

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
def test_the_cause_of_an_exit_is_found_in_the_log(code: int, lines: list[str], reason: str, words: str) -> None:
    failure = diagnose(code, lines)
    assert failure.reason == reason
    assert words in failure.message


# Logs of other versions, engines and machines; the first line of each describes it.
HARD_LOGS = Path(__file__).parents[2] / "data" / "vllm-logs" / "hard"
HARD = {
    "ansi-prefix-0.10-0.11": (job.ENGINE_CRASHED, "RuntimeError: Failed: CUDA error /tmp/deepep/internode_ll.cu:391"),
    "bare-assert": (
        job.ENGINE_CRASHED,
        'AssertionError: assert w1_scale is not None <- File "/v/flashinfer_cutlass_moe.py", line 12, in apply',
    ),
    "core-killed-empty-dict-0.23": (job.ENGINE_OUT_OF_MEMORY, "one of its processes ended without a status"),
    "core-killed-minus-9": (job.ENGINE_OUT_OF_MEMORY, "EngineCore was ended by SIGKILL"),
    "gated-repo": (job.ENGINE_REJECTED, "You are trying to access a gated repo"),
    "hip-memory-fault": (job.ENGINE_CRASHED, "Memory access fault by GPU node-4"),
    "inductor-out-of-resource": (job.ENGINE_CRASHED, "No such file or directory: '/old/vllm/x'"),
    "jit-compile-error": (job.ENGINE_CRASHED, 'sampling.cu(12): error: identifier "foo" is undefined'),
    "jit-compiler-killed": (job.ENGINE_OUT_OF_MEMORY, "'cicc' died due to signal 9"),
    "json-logging": (job.ENGINE_CRASHED, "ValueError: No such layer foo"),
    "nested-prefix-crash-tp2-0.11": (job.ENGINE_CRASHED, "KeyError: 'layers.0.mlp.experts.w13_weight_scale'"),
    "nested-prefix-memory-tp2-0.11": (job.ENGINE_OUT_OF_MEMORY, "ValueError: Free memory on device (3.22/79.2 GiB)"),
    "unknown-tool-parser": (job.ENGINE_REJECTED, "invalid tool call parser: qwen4"),
}


@pytest.mark.parametrize(("log", "reason", "words"), [(log, *found) for log, found in HARD.items()], ids=HARD)
def test_logs_of_other_versions(log: str, reason: str, words: str) -> None:
    failure = diagnose(1, (HARD_LOGS / f"diag-{log}.log").read_text().splitlines()[1:])
    assert failure.reason == reason
    assert words in failure.message


def test_every_hard_log_of_ends_is_read() -> None:
    assert {path.stem.removeprefix("diag-") for path in HARD_LOGS.glob("diag-*.log")} == HARD.keys()


def test_a_process_killed_for_memory_is_reported() -> None:
    failure = diagnose(1, ["subprocess.CalledProcessError: Command ninja failed"], oom_kills=2)
    assert failure.reason == job.ENGINE_OUT_OF_MEMORY
    assert failure.message.endswith("the kernel killed 2 of its processes, as the container was out of memory")


@pytest.mark.parametrize(
    ("lines", "reason", "words"),
    [
        (["c++: fatal error: Killed signal terminated program cc1plus"], job.ENGINE_OUT_OF_MEMORY, "cc1plus"),
        (["concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly"],
         job.ENGINE_OUT_OF_MEMORY, "BrokenProcessPool"),
        (["triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 147456"],
         job.ENGINE_CRASHED, "shared memory"),
        (["[rank1]: torch.OutOfMemoryError: HIP out of memory. Tried to allocate 2.00 GiB"],
         job.ENGINE_OUT_OF_MEMORY, "HIP out of memory"),
        (["RuntimeError: CUDA error: out of memory"], job.ENGINE_OUT_OF_MEMORY, "out of memory"),
        ([CORE + "ValueError: odd", "(Worker_TP1 pid=4) ERROR 11-23 15:30:32 [x.py:1] BrokenPipeError: 32", GENERIC],
         job.ENGINE_CRASHED, "ValueError: odd"),
        (["Fatal Python error: Segmentation fault", "Thread 0x1:", GENERIC.replace("1}", "-11}")],
         job.ENGINE_CRASHED, "Segmentation fault; EngineCore was ended by SIGSEGV"),
        (["huggingface_hub.errors.LocalEntryNotFoundError: outgoing traffic has been disabled"],
         job.ENGINE_CRASHED, "LocalEntryNotFoundError"),
        (["KeyError: 'qwen9'", "During handling of the above exception, another exception occurred:",
          "ValueError: The checkpoint has model type `qwen9` but Transformers does not recognize this architecture"],
         job.ENGINE_REJECTED, "Transformers does not recognize"),
        (["ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use"],
         job.ENGINE_REJECTED, "already in use"),
        (["WARNING 11-23 15:30:31 [x.py:1] some error: ignored", "RuntimeError: odd", "INFO 11-23 [x.py:1] error: 0"],
         job.ENGINE_CRASHED, "RuntimeError: odd"),
        (['(APIServer pid=1) {"asctime": "2026", "message": "failed", "exc_info": "Trace:\\nTypeError: odd"}', GENERIC],
         job.ENGINE_CRASHED, "TypeError: odd"),
        (["NotImplementedError"], job.ENGINE_CRASHED, "NotImplementedError"),
        (["(EngineCore pid=2) ERROR 11-23 15:30:31 [c.py:1] RuntimeError: NCCL error: unhandled system error"],
         job.ENGINE_CRASHED, "NCCL error"),
    ],
)  # fmt: skip
def test_ends_that_are_alike(lines: list[str], reason: str, words: str) -> None:
    failure = diagnose(1, lines)
    assert (failure.reason, words in failure.message) == (reason, True), failure.message


def test_an_access_log_of_a_bad_request_is_no_rejection() -> None:
    lines = ["ValueError: guided decoding is not supported", "RuntimeError: CUDA error: an illegal memory access"]
    assert diagnose(1, lines).reason == job.ENGINE_CRASHED


ARTEFACT = "vllm/torch_compile_cache/71fff4fdac/rank_0_0/backbone/artifact_compile_range_1_8192_subgraph_0"
LOST = f"the engine exited with status 1: FileNotFoundError: [Errno 2] No such file or directory: '/old/{ARTEFACT}'"


def test_a_crash_of_a_warm_start_names_the_file_and_its_layer() -> None:
    found = refusal(AttemptError(job.ENGINE_CRASHED, LOST), [f"{ARTEFACT}0", ARTEFACT, "triton/k/c.cubin"], "/new")
    assert found.reason == job.WARM_START_FAILED
    assert found.message.startswith("Miss: ")
    assert found.message.endswith(f"{LOST}; that is {ARTEFACT} of TorchCompile, below /new here")


def test_a_crash_of_a_warm_start_that_names_no_file() -> None:
    found = refusal(AttemptError(job.ENGINE_CRASHED, "the engine was ended by SIGSEGV"), [ARTEFACT], "/new")
    assert (found.reason, found.message[-7:]) == (job.WARM_START_FAILED, "SIGSEGV")


@pytest.mark.parametrize("reason", [job.ENGINE_OUT_OF_MEMORY, job.ENGINE_REJECTED, job.TIMED_OUT, job.TERMINATED])
def test_what_has_a_cause_of_its_own_is_not_the_bundles_fault(reason: str) -> None:
    failure = AttemptError(reason, LOST)
    assert refusal(failure, [ARTEFACT], "/new") is failure
