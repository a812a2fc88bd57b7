"""The errors that Tunecast raises.

    TunecastError
    ├── MalformedError        bytes are not a valid record of their type
    ├── BundleError           an archive or a captured file can't be used
    │   ├── UnsafeArchiveError    an archive reaches outside its directory, or holds more than it declares
    │   ├── DigestMismatchError   the bytes of an archive don't have the expected digest
    │   └── InstallError          a file system failed: the disk is full, or the directory isn't writable
    ├── SignatureError        no trusted key signed the manifest
    ├── WrongKeyError         a manifest belongs to another key, namespace or hardware
    ├── CommandLineError      an engine's command line can't be read
    └── StoreError            a request to S3 failed
        ├── StoreUnavailableError   the request may succeed later: connection, time-out, 5xx
        ├── AccessDeniedError       the credentials don't allow the request
        │   └── UrlExpiredError         the credentials, or the presigned URL, have expired
        └── NotFoundError           the bucket or the object doesn't exist

Every error carries a stable CamelCase ``reason``, which becomes a condition's, an Event's or a report's reason.
"""

from __future__ import annotations


class TunecastError(Exception):
    """An error whose message states what happened, to which object, and what to do."""

    reason = "Failed"


class MalformedError(TunecastError):
    reason = "Malformed"


class BundleError(TunecastError):
    reason = "BadBundle"


class UnsafeArchiveError(BundleError):
    reason = "UnsafeArchive"


class DigestMismatchError(BundleError):
    reason = "DigestMismatch"


class InstallError(BundleError):
    reason = "InstallFailed"


class SignatureError(TunecastError):
    reason = "BadSignature"


class WrongKeyError(TunecastError):
    reason = "WrongKey"


class CommandLineError(TunecastError):
    """An engine's command line can't be read. The operator reports it as InvalidSpec, a rank as BadSettings."""


class StoreError(TunecastError):
    reason = "StoreFailed"


class StoreUnavailableError(StoreError):
    reason = "StoreUnavailable"


class AccessDeniedError(StoreError):
    reason = "AccessDenied"


class UrlExpiredError(AccessDeniedError):
    """Credentials or a presigned URL have expired. A request with renewed ones can succeed."""


class NotFoundError(StoreError):
    reason = "NotFound"
