"""Maps error responses of an S3 server to errors with advice, for the operator, init containers and ranks alike."""

from __future__ import annotations

from dataclasses import dataclass

from tunecast_core.errors import (
    AccessDeniedError,
    NotFoundError,
    StoreError,
    StoreUnavailableError,
    UrlExpiredError,
)

NOT_IMPLEMENTED = 501

_BUSY = frozenset({"SlowDown", "RequestTimeout", "RequestTimeoutException", "ThrottlingException", "InternalError"})
_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredRequest", "TokenRefreshRequired"})
_UNKNOWN_USER = "XAdminUserNotFound"  # versitygw answers 404 to an access key that it doesn't know
_REGION = "set s3.region to the bucket's region{region}, or s3.addressingStyle to what the store expects"
_CLOCK = "the clocks of the store, the operator and the pod that sends the request are too far apart: set them"
_LIMIT = "the body exceeds a size limit of the store, or of an ingress or proxy in front of it: raise that limit"
_SIGNATURE = (
    "check the secret key; if it is right, something between here and the store changes the host or the path "
    "(an ingress, a proxy), or s3.addressingStyle doesn't fit the store"
)
_DENIED = (
    "check the credentials and the bucket's policy (a missing object looks like this too where the credentials "
    "may not list the bucket)"
)
_ADVICE = {
    "AuthorizationHeaderMalformed": _REGION,
    "AuthorizationQueryParametersError": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidRegion": _REGION,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "SignatureDoesNotMatch": _SIGNATURE,
    "InvalidAccessKeyId": "the store doesn't know this access key: check the credentials, and s3.endpoint",
    "InvalidToken": "the store doesn't accept the session token: check the credentials, and s3.endpoint",
    "MethodNotAllowed": "check that s3.endpoint is the address of the store's S3 API",
    "EntityTooLarge": _LIMIT,
    "QuotaExceeded": "free space in the bucket, or raise its quota",
}
_ADVICE_BY_STATUS = {
    405: _ADVICE["MethodNotAllowed"],
    407: "the proxy asks for a password, which Tunecast doesn't send: let it pass without one",
    413: _LIMIT,
    507: _ADVICE["QuotaExceeded"],
}


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An HTTP response that reports an error.

    Attributes:
        status: HTTP status.
        code: error code of S3, such as NoSuchKey; empty if the body has none.
        message: error message of S3.
        region: region of the bucket, which some redirects state; else empty.
    """

    status: int
    code: str = ""
    message: str = ""
    region: str = ""


def refusal(what: str, answer: ErrorAnswer, needs: str = "") -> StoreError:
    """Returns the error for an error response.

    Args:
        what: the failed operation and its object, with which the error's message begins.
        answer: response of the server.
        needs: feature of S3 that the request used and that some stores lack; else empty.
    """
    text = f"{what}: {answer.code or 'HTTP'} ({answer.status})"
    if answer.status == NOT_IMPLEMENTED or answer.code == "NotImplemented":
        feature = f" {needs}" if needs else " this request"
        return StoreError(f"{text}; the store doesn't support{feature}, which Tunecast needs: see docs/stores.md")
    if _busy(answer):
        return StoreUnavailableError(f"{text}; it may work later")
    if answer.code == "NoSuchBucket":
        return NotFoundError(f"{text}; make the bucket, or name another")
    if answer.code in _MISSING:
        return NotFoundError(f"{text}; it doesn't exist")
    if _expired(answer):
        return UrlExpiredError(f"{text}: {answer.message}; the URL, or the credentials that signed it, expired")
    if "not valid yet" in answer.message:
        return AccessDeniedError(f"{text}: {answer.message}; {_CLOCK}")
    return _advised(text, answer, needs)


def no_answer(what: str, reason: str) -> StoreError:
    """Returns the error for a request without a response. A retry may succeed, unless the certificate is invalid."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return StoreError(
            f"{what}: {reason}; set s3.caCertificates to the authority that signed the store's certificate, and "
            "s3.endpoint to a name in that certificate"
        )
    return StoreUnavailableError(f"{what}: {reason}; check that it exists and can be reached from here")


def _busy(answer: ErrorAnswer) -> bool:
    failed = answer.status >= 500 and answer.status not in _ADVICE_BY_STATUS  # noqa: PLR2004
    return failed or answer.status == 429 or answer.code in _BUSY  # noqa: PLR2004


def _expired(answer: ErrorAnswer) -> bool:
    """Whether credentials or a URL expired. Stores report it with different codes and statuses."""
    return answer.code in _EXPIRED or "expired" in answer.message.lower()


def _advised(text: str, answer: ErrorAnswer, needs: str) -> StoreError:
    denied = answer.status in {401, 403} or answer.code in {"InvalidToken", "RequestTimeTooSkewed", _UNKNOWN_USER}
    advice = _ADVICE.get(answer.code) or _ADVICE_BY_STATUS.get(answer.status)
    if answer.status in _REDIRECTS:
        advice = f"the store redirects to another address: {_REGION}"
    elif denied and not advice:
        advice = _DENIED
    elif needs and not advice:
        advice = f"does the store support {needs}? See docs/stores.md"
    detail = f": {answer.message}" if answer.message else ""
    hint = (advice or "check bucket, endpoint and region").format(region=f", {answer.region}" if answer.region else "")
    return (AccessDeniedError if denied else StoreError)(f"{text}{detail}; {hint}")
