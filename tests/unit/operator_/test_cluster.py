import json

import pytest
from kubernetes.client import ApiException

from tunecast_operator.runtime.cluster import (
    ClusterError,
    ConflictError,
    ExistsError,
    RejectedError,
    WatchExpiredError,
    _translated,
    lines_of,
    watched_event,
)


def answered(status: int, message: str, reason: str = "") -> ClusterError:
    error = ApiException(status=status)
    error.body = json.dumps({"kind": "Status", "message": message, "reason": reason}).encode()
    return _translated(error, "POST Job models/kc-1")


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind"),
    [
        (409, "AlreadyExists", 'jobs.batch "kc-1" already exists', ExistsError),
        (409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "q"', ConflictError),
        (403, "Forbidden", "exceeded quota: q", RejectedError),
        (422, "Invalid", "spec.template: Required value", RejectedError),
        (500, "", "failed to create typed patch object: .spec.hostPth: field not declared in schema", RejectedError),
        (500, "InternalError", "etcd leader changed", ClusterError),
        (503, "ServiceUnavailable", "busy", ClusterError),
    ],
)
def test_what_an_answer_means(status: int, reason: str, message: str, kind: type[ClusterError]) -> None:
    found = answered(status, message, reason)
    assert type(found) is kind
    assert message in str(found)


def test_a_version_that_the_api_server_forgot_ends_the_watch_as_expired() -> None:
    expired = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    with pytest.raises(WatchExpiredError, match="too old resource version") as caught:
        watched_event(expired, "WATCH Pod */*")
    assert caught.value.reason == "WatchExpired"


def test_events_are_read_by_line_for_any_chunks() -> None:
    assert list(lines_of([b'{"a"', b': 1}\n{"b": 2}\n', b'{"c"'])) == [b'{"a": 1}', b'{"b": 2}']
