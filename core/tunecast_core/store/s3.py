"""One S3 client for all, and what its errors mean."""

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
READ_SECONDS = 5.0  # of each piece of an answer

_answer_seconds = ContextVar("answer_seconds", default=READ_SECONDS)
_TRANSIENT = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError)
_STILL_EXPIRED = "refreshed credentials are still expired"  # botocore says it with a RuntimeError
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)


@cache
def _loader() -> Loader:
    """Reads botocore's models of services once for all sessions, each of which would keep ten megabytes of its own."""
    return create_loader()


def _session() -> Session:
    session = Session()
    session.register_component("data_loader", _loader())
    return session


def connect(settings: StoreSettings, session: Session | None = None) -> S3Client:
    """A client with short time-outs and no retries of its own. Credentials come from boto3's chain.

    AWS is always asked at the region's own endpoint: presigned URLs of the global one are redirected, which an upload
    can't follow. With an endpoint, requests go unsigned where the chain finds no credentials.
    """
    session = session or _session()
    if settings.transport.ca_certificates:
        session.set_config_variable("ca_bundle", _ca_file(settings.transport))
    anonymous = settings.endpoint is not None and session.get_credentials() is None
    same_for_all: Any = {"ignore_configured_endpoint_urls": True}  # ranks don't see the operator's AWS_ENDPOINT_URL
    config: Any = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        signature_version=UNSIGNED if anonymous else "s3v4",
        s3={"addressing_style": addressing_style(settings), "us_east_1_regional_endpoint": "regional"},
        proxies=settings.transport.proxies,  # none is not the environment's
        **same_for_all,
        request_checksum_calculation="when_required",  # archives are checked by their SHA-256
        response_checksum_validation="when_required",
    )
    client = session.create_client("s3", settings.region, endpoint_url=settings.endpoint, config=config)
    client.meta.events.register("request-created.s3", _limit_answer)
    return cast("S3Client", client)


@functools.cache
def _ca_file(transport: Transport) -> str:
    """A path of its certificates, which botocore wants: in memory, because pods' file systems are read-only."""
    transport.tls()
    path = f"/proc/self/fd/{os.memfd_create('tunecast-ca')}"
    Path(path).write_text(transport.ca_certificates)
    return path


@contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """Within it, this thread's requests wait ``seconds`` at the most for each piece of an answer."""
    before = _answer_seconds.set(seconds)
    try:
        yield
    finally:
        _answer_seconds.reset(before)


def _limit_answer(request: AWSRequest, **_: Any) -> None:
    request.context["read_timeout"] = _answer_seconds.get()


@contextmanager
def signing(settings: StoreSettings, most: int) -> Iterator[tuple[S3Client, int]]:
    """A client whose credentials were fetched just now, and how many seconds they live, up to ``most``.

    botocore keeps temporary credentials until a quarter of an hour before they expire: a URL that is signed with old
    ones would die with them.
    """
    session = _session()
    with closing(connect(settings, session=session)) as client:
        yield client, lifetime(session.get_credentials(), most)


def lifetime(credentials: Credentials | None, most: int) -> int:
    """Seconds for which ``credentials`` are valid, from 1 to ``most``. Others than temporary ones are always valid."""
    if not isinstance(credentials, RefreshableCredentials):
        return most
    credentials.get_frozen_credentials()  # some are fetched at their first use
    return max(1, bisect_left(range(most + 1), True, key=lambda left: credentials.refresh_needed(refresh_in=left)) - 1)


def addressing_style(settings: StoreSettings) -> Literal["virtual", "path"]:
    """Where URLs have the bucket's name, in botocore's words; its "auto" presigns URLs of AWS's global endpoint."""
    if settings.addressing_style != "Auto":
        return "virtual" if settings.addressing_style == "Virtual" else "path"
    return "path" if settings.endpoint or "." in settings.bucket else "virtual"


@contextmanager
def explained(doing: str, settings: StoreSettings, name: str = "", needs: str = "") -> Iterator[None]:
    """Turns botocore's errors into ours, with what was done to which object, and what to do about it.

    Args:
        doing: a verb.
        settings: of the store.
        name: of the object.
        needs: the feature of S3 that is used, where some stores lack it.
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
    """Whether nobody answered: neither S3, nor where credentials come from."""
    nobody = isinstance(error.__cause__, (boto.ConnectionError, boto.HTTPClientError, *_NO_CREDENTIALS))
    return nobody and not isinstance(error.__cause__, boto.SSLError)  # which is somebody else's answer


def code_of(error: BaseException | None) -> str:
    """S3's own code of the error that one of ours was raised from, such as NoSuchKey; "" where there is none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, boto.ClientError) else ""


def _answer(error: boto.ClientError) -> ErrorAnswer:
    said, sent = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    region = sent.get("HTTPHeaders", {}).get("x-amz-bucket-region", "")
    return ErrorAnswer(int(sent.get("HTTPStatusCode", 0)), code_of(error), str(said.get("Message", "")), region)
