from typing import Any

import pytest

from tunecast_operator.matching import matches


@pytest.mark.parametrize(
    ("desired", "live", "same"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2], "c": 3}}, True),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "1"}}, True),
        ({"limits": {"memory": "1024Mi"}}, {"limits": {"memory": "1Gi"}}, True),
        ({"limits": {"nvidia.com/gpu": 1}}, {"limits": {"nvidia.com/gpu": "1"}}, True),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1"}}, False),
        ({"value": ""}, {}, True),
        ({"emptyDir": {}}, {"emptyDir": {}}, True),
        ({"value": "x"}, {}, False),
        ({"readOnly": False}, {}, True),
        ({"a": 1}, None, False),
        ([{"name": "x"}], [{"name": "x", "protocol": "TCP"}], True),
    ],
)
def test_matches(desired: Any, live: Any, same: bool) -> None:
    assert matches(desired, live) is same
