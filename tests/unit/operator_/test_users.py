"""Who uses a StartupCache, in one line."""

from __future__ import annotations

import pytest

from support.observed import seen
from tunecast_operator.api.status import WorkloadStatus
from tunecast_operator.plan.startup_cache import decide
from tunecast_operator.plan.usage import users

VLLM = WorkloadStatus(kind="Deployment", name="vllm", pods=2)
LWS = WorkloadStatus(kind="LeaderWorkerSet", name="vllm", pods=1)


@pytest.mark.parametrize(
    ("referred_by", "used_by", "expected"),
    [
        ([], [], None),
        (["qwen3"], [], "InferenceDeployment qwen3"),
        ([], [VLLM], "Deployment vllm"),
        (["qwen3"], [VLLM], "InferenceDeployment qwen3 and 1 other"),
        ([], [VLLM, LWS], "Deployment vllm and 1 other"),
        (["a", "b"], [VLLM, LWS], "InferenceDeployment a and 3 others"),
    ],
)
def test_the_first_user_is_named_and_the_others_are_counted(
    referred_by: list[str], used_by: list[WorkloadStatus], expected: str | None
) -> None:
    assert users(referred_by, used_by) == expected


def test_status_names_the_users_while_there_are_any() -> None:
    wanted = decide(seen()).status
    assert wanted.users == "InferenceDeployment qwen3"
    assert decide(seen(wanted, wanted_by=[])).status.users is None
