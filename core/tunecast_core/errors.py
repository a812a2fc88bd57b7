"""The errors that Tunecast raises on purpose.

    TunecastError
    ├── MalformedError        bytes that are not the record they should be
    ├── BundleError           an archive or a captured file can't be used
    │   ├── UnsafeArchiveError    it reaches outside its directory, or holds more than it declared
    │   ├── DigestMismatchError   its bytes are not the ones that were promised
    │   └── InstallError          this machine could not take it: a full disk, a directory that isn't writable
    ├── SignatureError        no trusted key signed it
    ├── WrongKeyError         a manifest of another key, namespace or hardware
    ├── CommandLineError      an engine's command line can't be read
    └── StoreError            S3 did not do what was asked
        ├── StoreUnavailableError   it may work later: connection, time-out, 5xx
        ├── AccessDeniedError       the credentials don't allow it
        │   └── UrlExpiredError         they, or the URL that was signed with them, have expired
        └── NotFoundError           no such bucket or object

Every error carries a stable CamelCase ``reason``, which becomes a condition's, an Event's or a report's reason.
"""

from __future__ import annotations


class TunecastError(Exception):
    """What happened, to which object, and what to do, in one message."""

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
    """Has no reason of its own: the operator says InvalidSpec, a rank BadSettings."""


class StoreError(TunecastError):
    reason = "StoreFailed"


class StoreUnavailableError(StoreError):
    reason = "StoreUnavailable"


class AccessDeniedError(StoreError):
    reason = "AccessDenied"


class UrlExpiredError(AccessDeniedError):
    """Renewed credentials, or a URL that is signed with them, will do."""


class NotFoundError(StoreError):
    reason = "NotFound"
