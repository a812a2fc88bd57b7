import json

import pytest
from kubernetes.client import ApiException

from tunecast_operator.runtime.cluster import ClusterError, ConflictError, ExistsError, RejectedError, _translated


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
