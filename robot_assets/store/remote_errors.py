"""One sentence and one fix for each kind of error of a remote, without credentials.

Every fsspec protocol raises the exceptions of its own library. Those of S3 have a code; others are recognized by their
type and their text, and what is not recognized is shown as it is.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from robot_assets.core.errors import StoreError
from robot_assets.store.os_errors import FULL, masked, no_space

_AGAIN = "then run the same command again; what has arrived is kept"
_CAUSES_MAX = 20


@dataclass(frozen=True)
class _Kind:
    """A kind of error. ``{bucket}``, ``{host}``, ``{doing}`` and ``{name}`` are filled in.

    Attributes:
        what: What it means.
        needed: What is needed instead.
        fix: How to get there.
    """

    what: str
    needed: str
    fix: str


_EXPIRED = _Kind(
    "the credentials have expired",
    "valid credentials",
    "aws sso login   # or export new AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
)
_CLOCK = _Kind(
    "the clock of this machine differs from that of the server",
    "a clock that is right to a few minutes",
    "timedatectl set-ntp true   # then compare: date -u",
)
_UNKNOWN_KEY = _Kind(
    "the server does not know this AWS_ACCESS_KEY_ID",
    "the credentials of this server",
    "export AWS_ACCESS_KEY_ID=KEY AWS_SECRET_ACCESS_KEY=SECRET   # those that belong to store.url and AWS_ENDPOINT_URL",
)
_WRONG_SECRET = _Kind(
    "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID",
    "both halves of one key",
    "export AWS_ACCESS_KEY_ID=KEY AWS_SECRET_ACCESS_KEY=SECRET   # as they were issued",
)
_NO_CREDENTIALS = _Kind(
    "there are no credentials",
    "credentials that may list, read and write the bucket",
    "export AWS_ACCESS_KEY_ID=KEY AWS_SECRET_ACCESS_KEY=SECRET   # or: aws configure",
)
_DENIED = _Kind(
    "the credentials are valid and do not allow this (403)",
    "s3:ListBucket on the bucket {bucket}, s3:GetObject and s3:PutObject below the prefix of store.url",
    "aws s3 ls {name}   # then ask whoever administers {bucket} for these permissions",
)
_NO_BUCKET = _Kind(
    "there is no bucket {bucket} (404)",
    "an existing bucket",
    "aws s3 mb s3://{bucket}   # or correct store.url in params.yaml",
)
_REGION = _Kind(
    "the bucket is in another region",
    "the region of the bucket {bucket}",
    "aws s3api get-bucket-location --bucket {bucket}   # then: export AWS_DEFAULT_REGION=REGION",
)
_BUSY = _Kind("the server is busy or failing", "a server that answers", f"wait a minute, {_AGAIN}")
_NO_NAME = _Kind(
    "the host name {host} cannot be resolved",
    "a network connection, and a name that DNS knows",
    "getent hosts {hostname}   # then correct store.url or AWS_ENDPOINT_URL, or the DNS of this machine",
)
_NO_CONNECTION = _Kind(
    "{host} cannot be reached",
    "a network connection to {host}",
    f"curl -sSI {{host}}   # shows why; {_AGAIN}",
)
_CERTIFICATE = _Kind(
    "the certificate of {host} is not trusted here",
    "the certificate authority of the server",
    "export AWS_CA_BUNDLE=/path/to/ca.pem   # the authority that signed the certificate of {host}",
)
_PROFILE = _Kind(
    "AWS_PROFILE names a profile that is not configured",
    "a profile of ~/.aws/config",
    "aws configure list-profiles   # then: export AWS_PROFILE=NAME",
)
_BAD_NAME = _Kind(
    "{bucket!r} is not a valid bucket name",
    "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens",
    "correct store.url in params.yaml",
)
_FILE_IN_PATH = _Kind("a part of this path is a file", "a folder", "correct store.url, or move that file away")
_NO_FOLDER = _Kind("there is no such folder", "an existing folder", "ls -ld {name}   # mount it, or correct store.url")
_NO_PERMISSION = _Kind(
    "permission denied",
    "a folder that this user may read and write",
    "ls -ld {name}   # then change its owner or rights, or correct store.url",
)
_READ_ONLY = _Kind(
    "the file system is read-only", "a folder that can be written", "findmnt --target {name}   # then mount it writable"
)
_NOT_ANSWERING = _Kind(
    "the file system does not answer or fails", "a mounted disk or share that works", "findmnt --target {name}"
)
_OTHER = _Kind(
    "",
    "an existing, reachable remote, and credentials that may read and write it",
    f"check store.url in params.yaml, {_AGAIN}",
)

_CODES = {
    ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "RequestExpired"): _EXPIRED,
    ("RequestTimeTooSkewed",): _CLOCK,
    ("InvalidAccessKeyId", "InvalidClientTokenId", "NotSignedUp"): _UNKNOWN_KEY,
    ("SignatureDoesNotMatch",): _WRONG_SECRET,
    ("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"): _DENIED,
    ("NoSuchBucket", "404"): _NO_BUCKET,
    ("PermanentRedirect", "301", "307", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"): _REGION,
    ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "500", "503"): _BUSY,
    ("InvalidBucketName",): _BAD_NAME,
}
_TEXTS = {
    r"NoCredentials|PartialCredentials|CredentialRetrieval|Unable to locate credentials": _NO_CREDENTIALS,
    r"TokenRetrievalError|SSOTokenLoadError|UnauthorizedSSOToken": _EXPIRED,
    r"ProfileNotFound": _PROFILE,
    r"gaierror|Name or service not known|name resolution|getaddrinfo|No address associated": _NO_NAME,
    r"SSLError|SSLCertVerification|CERTIFICATE_VERIFY_FAILED": _CERTIFICATE,
    r"Invalid bucket name|ParamValidationError": _BAD_NAME,
    r"EndpointConnectionError|ConnectTimeout|ReadTimeout|ConnectionClosed|ConnectionError|ClientConnector|"
    r"ServerDisconnected|Connection refused|Connection reset|TimeoutError": _NO_CONNECTION,
}
_LOCAL = {
    errno.ENOENT: _NO_FOLDER,
    errno.ENOTDIR: _FILE_IN_PATH,
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: _READ_ONLY,
    errno.ESTALE: _NOT_ANSWERING,
    errno.EIO: _NOT_ANSWERING,
    errno.ETIMEDOUT: _NOT_ANSWERING,
    errno.EHOSTDOWN: _NOT_ANSWERING,
}


def remote_error(doing: str, url: str, error: Exception, local: str = "") -> StoreError:
    """The error of an operation on a remote.

    Args:
        doing: The operation, such as "writing".
        url: URL of the remote; may contain credentials.
        error: What was raised.
        local: The file of this machine that was written to, when the remote was only read.
    """
    name = masked(url)
    chain = list(_chain(error))
    if full := next((one for one in chain if isinstance(one, OSError) and one.errno in FULL), None):
        place = local if local else full.filename2 or full.filename or url.removeprefix("file://")
        return no_space(f"{doing} {name}", Path(str(place)), full)
    kind = _kind(chain, is_local="://" not in url.removeprefix("file://"))
    words = {"doing": doing, **_places(url, chain)}
    said = f"{type(error).__name__}: {masked(str(error), url)}".partition("\n")[0]
    what = f"{kind.what.format(**words)} ({said})" if kind.what else said
    return StoreError(
        f"{doing} {name} failed: {what}", needed=kind.needed.format(**words), fix=kind.fix.format(**words)
    )


def _kind(chain: list[BaseException], is_local: bool) -> _Kind:
    if is_local:
        codes = [one.errno for one in chain if isinstance(one, OSError)]
        return next((_LOCAL[code] for code in codes if code in _LOCAL), _OTHER)
    for one in chain:
        code = _code(one)
        if found := next((kind for codes, kind in _CODES.items() if code in codes), None):
            return found
    text = " ".join(f"{type(one).__name__} {one}" for one in chain)
    return next((kind for pattern, kind in _TEXTS.items() if re.search(pattern, text)), _by_type(chain))


def _by_type(chain: list[BaseException]) -> _Kind:
    """A kind by the exception that a protocol of fsspec maps its own to."""
    for one in chain:
        if isinstance(one, PermissionError):
            return _DENIED
        if isinstance(one, FileNotFoundError):
            return _NO_BUCKET
        if isinstance(one, socket.gaierror):
            return _NO_NAME
    return _OTHER


def _code(error: BaseException) -> str:
    """The code of an error of S3."""
    response = getattr(error, "response", None)
    details = response.get("Error", {}) if isinstance(response, dict) else {}
    return str(details.get("Code", ""))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised from, outermost first."""
    one: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if one is None:
            return
        yield one
        one = one.__cause__ or one.__context__


def _places(url: str, chain: list[BaseException]) -> dict[str, str]:
    bucket = url.partition("://")[2].partition("/")[0].rpartition("@")[2] if "://" in url else ""
    named = re.search(r"https?://[^\s\"']+", " ".join(str(one) for one in chain))
    endpoint = urlsplit(named[0].rstrip(".") if named else os.environ.get("AWS_ENDPOINT_URL", ""))
    return {
        "bucket": bucket,
        "host": endpoint.netloc.rpartition("@")[2] or "s3.amazonaws.com",
        "hostname": endpoint.hostname or "s3.amazonaws.com",
        "name": shlex.quote(masked(url).removeprefix("file://")),
    }
