"""The S3 client of the operator and init containers, and the translation of its errors."""

from __future__ import annotations

import functools
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import botocore.exceptions as boto
from botocore import UNSIGNED
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from tunecast_core.errors import AccessDeniedError, StoreError
from tunecast_core.store.refusals import ErrorAnswer, no_answer, refusal
from tunecast_core.store.transport import Transport
from tunecast_core.trust.settings import StoreSettings

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

CONNECTIONS = 8
CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0  # time-out of each read of an answer

_answer_seconds = ContextVar("answer_seconds", default=READ_SECONDS)
_TRANSIENT = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError)
_STILL_EXPIRED = "refreshed credentials are still expired"  # message of botocore's RuntimeError
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)


@cache
def _loader() -> Loader:
    """Loads botocore's service models once for all sessions, since each copy takes ten megabytes."""
    return create_loader()


def _session() -> Session:
    session = Session()
    session.register_component("data_loader", _loader())
    return session


def connect(settings: StoreSettings, session: Session | None = None) -> S3Client:
    """Creates a client with short time-outs and without retries. Credentials come from boto3's chain.

    AWS is always addressed by its regional endpoint, because presigned URLs of the global endpoint are redirected,
    which an upload can't follow. If an endpoint is set and the chain finds no credentials, requests are unsigned.
    """
    session = session or _session()
    if settings.transport.ca_certificates:
        session.set_config_variable("ca_bundle", _ca_file(settings.transport))
    anonymous = settings.endpoint is not None and session.get_credentials() is None
    same_for_all: Any = {"ignore_configured_endpoint_urls": True}  # ranks don't have the operator's AWS_ENDPOINT_URL
    config: Any = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        signature_version=UNSIGNED if anonymous else "s3v4",
        s3={"addressing_style": addressing_style(settings), "us_east_1_regional_endpoint": "regional"},
        proxies=settings.transport.proxies,  # an empty mapping disables proxies of the environment
        **same_for_all,
        request_checksum_calculation="when_required",  # archives are verified by their SHA-256
        response_checksum_validation="when_required",
    )
    client = session.create_client("s3", settings.region, endpoint_url=settings.endpoint, config=config)
    client.meta.events.register("request-created.s3", _limit_answer)
    return cast("S3Client", client)


@functools.cache
def _ca_file(transport: Transport) -> str:
    """Returns a path of the certificates for botocore. The file is in memory, since a pod's disk is read-only."""
    transport.tls()
    path = f"/proc/self/fd/{os.memfd_create('tunecast-ca')}"
    Path(path).write_text(transport.ca_certificates)
    return path


@contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """Sets the time-out of each read of an answer for requests of this thread in the block."""
    before = _answer_seconds.set(seconds)
    try:
        yield
    finally:
        _answer_seconds.reset(before)


def _limit_answer(request: AWSRequest, **_: Any) -> None:
    request.context["read_timeout"] = _answer_seconds.get()


@contextmanager
def signing(settings: StoreSettings, most: int) -> Iterator[tuple[S3Client, int]]:
    """Yields a client with freshly fetched credentials, and their remaining seconds, at most ``most``.

    botocore keeps temporary credentials until a quarter of an hour before they expire. A URL that is signed with old
    credentials would expire with them.
    """
    session = _session()
    with closing(connect(settings, session=session)) as client:
        yield client, lifetime(session.get_credentials(), most)


def lifetime(credentials: Credentials | None, most: int) -> int:
    """Returns the remaining seconds of ``credentials``, from 1 to ``most``. Permanent credentials have ``most``."""
    if not isinstance(credentials, RefreshableCredentials):
        return most
    credentials.get_frozen_credentials()  # some credentials are fetched at their first use
    return max(1, bisect_left(range(most + 1), True, key=lambda left: credentials.refresh_needed(refresh_in=left)) - 1)


def addressing_style(settings: StoreSettings) -> Literal["virtual", "path"]:
    """Returns botocore's addressing style. Its "auto" isn't used: it presigns URLs of AWS's global endpoint."""
    if settings.addressing_style != "Auto":
        return "virtual" if settings.addressing_style == "Virtual" else "path"
    return "path" if settings.endpoint or "." in settings.bucket else "virtual"


@contextmanager
def explained(doing: str, settings: StoreSettings, name: str = "", needs: str = "") -> Iterator[None]:
    """Translates botocore's errors into StoreErrors that name the operation, the object and a remedy.

    Args:
        doing: the operation, as a verb phrase.
        settings: location of the store.
        name: name of the object.
        needs: feature of S3 that the request uses and that some stores lack; else empty.
    """
    what = f"can't {doing} s3://{settings.bucket}/{name}" + (f" at {settings.endpoint}" if settings.endpoint else "")
    try:
        yield
    except boto.ClientError as error:
        raise refusal(what, _answer(error), needs) from error
    except _TRANSIENT as error:
        raise no_answer(what, str(error)) from error
    except _NO_CREDENTIALS as error:
        raise AccessDeniedError(
            f"{what}: {error}; set AWS_* variables or give the service account an identity"
        ) from error
    except boto.BotoCoreError as error:
        raise StoreError(f"{what}: {error}; check bucket, endpoint and region") from error
    except RuntimeError as error:
        if _STILL_EXPIRED not in str(error):
            raise
        raise AccessDeniedError(f"{what}: {error} Is this machine's clock right?") from error


def unreachable(error: StoreError) -> bool:
    """Whether neither S3 nor the source of credentials answered."""
    unanswered = isinstance(error.__cause__, (boto.ConnectionError, boto.HTTPClientError, *_NO_CREDENTIALS))
    return unanswered and not isinstance(error.__cause__, boto.SSLError)  # a TLS error means that a server answered


def code_of(error: BaseException | None) -> str:
    """Returns the error code of S3, such as NoSuchKey, from the cause of a StoreError; empty if there is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def _answer(error: boto.ClientError) -> ErrorAnswer:
    body, metadata = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    region = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
    return ErrorAnswer(int(metadata.get("HTTPStatusCode", 0)), code_of(error), str(body.get("Message", "")), region)
