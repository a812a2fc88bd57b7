"""One S3 client for all, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import botocore.exceptions as boto
from botocore import UNSIGNED
from botocore.config import Config
from botocore.session import Session

from tunecast_cache.errors import AccessDeniedError, NotFoundError, StoreError, StoreUnavailableError
from tunecast_cache.trust import StoreSettings

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

CONNECTIONS = 8
CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0

_TRANSIENT = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError)
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)
_BUSY = frozenset({"SlowDown", "RequestTimeout", "RequestTimeoutException", "ThrottlingException", "InternalError"})
_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
_SKEWED = "RequestTimeTooSkewed"
_UNKNOWN_USER = "XAdminUserNotFound"  # versitygw says 404 to an access key that it doesn't know
_DENIED_HINT = (
    "check the credentials and the bucket's policy (a missing object looks like this too where the credentials "
    "may not list the bucket)"
)


def connect(settings: StoreSettings, read_seconds: float = READ_SECONDS) -> S3Client:
    """A client with short time-outs and no retries of its own. Credentials come from boto3's chain.

    With an endpoint, buckets are in the path, and where the chain finds no credentials requests go unsigned.
    """
    session = Session()
    anonymous = settings.endpoint is not None and session.get_credentials() is None
    config: Any = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        signature_version=UNSIGNED if anonymous else "s3v4",
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
        request_checksum_calculation="when_required",  # archives are checked by their SHA-256
        response_checksum_validation="when_required",
    )
    client = session.create_client("s3", settings.region, endpoint_url=settings.endpoint, config=config)
    return cast("S3Client", client)


@contextmanager
def explained(doing: str, settings: StoreSettings, name: str = "") -> Iterator[None]:
    """Turns botocore's errors into ours, with what was done to which object, and what to do about it."""
    what = f"can't {doing} s3://{settings.bucket}/{name}" + (f" at {settings.endpoint}" if settings.endpoint else "")
    try:
        yield
    except boto.ClientError as error:
        raise _answered(what, error) from error
    except _TRANSIENT as error:
        raise StoreUnavailableError(f"{what}: {error}; check that the endpoint can be reached from here") from error
    except _NO_CREDENTIALS as error:
        raise AccessDeniedError(
            f"{what}: {error}; set AWS_* variables or give the service account an identity"
        ) from error
    except boto.BotoCoreError as error:
        raise StoreError(f"{what}: {error}; check bucket, endpoint and region") from error


def code_of(error: BaseException | None) -> str:
    """S3's own code of the error that one of ours was raised from, such as NoSuchKey; "" where there is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def _answered(what: str, error: boto.ClientError) -> StoreError:
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    text = f"{what}: {code} ({status})"
    if status >= 500 or status == 429 or code in _BUSY:  # noqa: PLR2004
        return StoreUnavailableError(f"{text}; it may work later")
    if code == "NoSuchBucket":
        return NotFoundError(f"{text}; make the bucket, or name another")
    if code in _MISSING:
        return NotFoundError(f"{text}; it isn't there")
    if code == _SKEWED:
        return AccessDeniedError(f"{text}; the clock of this machine and S3's are too far apart: set it")
    if status in {401, 403} or code == _UNKNOWN_USER:
        return AccessDeniedError(f"{text}; {_DENIED_HINT}")
    return StoreError(f"{text}: {error.response.get('Error', {}).get('Message', '')}")
