"""Uploads in several parts that were begun in a bucket of S3 and neither finished nor given up: found, and given up.

Nobody sees them, but a store may charge for them. The library that makes all other requests cannot list them, so these
two requests are signed here (AWS Signature Version 4). Azure drops such parts after a week by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from segdata.errors import NetworkError, NotThere, SignInError, UsageError
from segdata.places import connection, credentials
from segdata.places.address import Address, plain_http
from segdata.places.bucket import S3_ENDPOINTS
from segdata.system.secrets import shown

MOST_PAGES = 1000
"""Answers of up to a thousand uploads each that are asked for at most."""

_MOST_BYTES = 1 << 24
_RULE = "let a rule of the bucket remove them (AbortIncompleteMultipartUpload)"


@dataclass(frozen=True)
class Upload:
    """An upload that was not finished.

    Attributes:
        name: of the object that it would be, below the address.
        number: the store's name for it.
        begun: when.
    """

    name: str
    number: str
    begun: datetime


def unfinished(address: Address) -> list[Upload]:
    """The uploads below an address, the oldest first.

    Raises:
        UsageError: the address is in no bucket of S3.
        Unsafe: the endpoint is one of plain http, and that was not allowed.
        NotThere: there is no such bucket.
        SignInError, NetworkError: the store does not answer this.
    """
    if address.scheme != "s3":
        raise UsageError(
            "unfinished uploads are looked for in buckets of S3 alone",
            file=address,
            fix="Azure drops them after a week; for Google Cloud Storage " + _RULE,
        )
    before = f"{address.prefix}/" if address.prefix else ""
    query = {"encoding-type": "url", "prefix": before, "uploads": ""}
    uploads: list[Upload] = []
    for _ in range(MOST_PAGES):
        text = _asked("GET", address, "", query)
        for item in re.findall(r"<Upload>.*?</Upload>", text, re.DOTALL):
            key = unquote(_member(item, "Key"))
            if key.startswith(before):
                begun = datetime.fromisoformat(_member(item, "Initiated"))
                uploads.append(Upload(key.removeprefix(before), _member(item, "UploadId"), begun))
        if _member(text, "IsTruncated") != "true":
            break
        query |= {
            "key-marker": unquote(_member(text, "NextKeyMarker")),
            "upload-id-marker": _member(text, "NextUploadIdMarker"),
        }
    return sorted(uploads, key=lambda upload: (upload.begun, upload.name))


def give_up(address: Address, upload: Upload) -> None:
    """Remove the parts of an upload; nothing where it is no longer there.

    Raises:
        SignInError, NetworkError: the store does not do it.
    """
    _asked("DELETE", address, f"{address.prefix}/{upload.name}".lstrip("/"), {"uploadId": upload.number})


def _member(text: str, name: str) -> str:
    match = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return html.unescape(match[1]) if match else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signature goes to nobody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _asked(method: str, address: Address, key: str, query: Mapping[str, str]) -> str:
    """The text of an answer; of what is not there any more, nothing."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    region = region or credentials.of_files().get("region", "us-east-1")
    endpoint = next((os.environ[name] for name in S3_ENDPOINTS if os.environ.get(name)), "")
    endpoint = (endpoint or f"https://s3.{region}.amazonaws.com").rstrip("/")
    if not endpoint.lower().startswith("https:") and not address.reading.allow_http:
        raise plain_http(shown(endpoint))
    path = quote(f"{urlsplit(endpoint).path}/{address.host}" + (f"/{key}" if key else ""), safe="/-_.~")
    asked = "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
    parts = urlsplit(endpoint)
    keys = _keys(address)
    headers = {} if keys is None else signed((method, parts.netloc, path, asked), region, keys, datetime.now(UTC))
    request = urllib.request.Request(f"{parts.scheme}://{parts.netloc}{path}?{asked}", method=method, headers=headers)
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=connection.TIMEOUT.total_seconds()) as answer:
            return str(answer.read(_MOST_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        if error.code == 404 and method == "DELETE":
            return ""
        raise _refused(error, address) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NetworkError(
            "the place cannot be reached", file=address, why=str(reason), fix="try again later"
        ) from None


def _refused(error: urllib.error.HTTPError, address: Address) -> Exception:
    with error:
        said = _member(error.read(1 << 16).decode("utf-8", "replace"), "Code")
    why = f"the server says {error.code} {error.reason}" + (f", {said}" if said else "")
    if error.code == 404:
        return NotThere("there is no such bucket", file=address, why=why)
    if error.code in (400, 401, 403):
        fix = "use a key that may list and abort uploads (s3:ListBucketMultipartUploads, s3:AbortMultipartUpload), or "
        return SignInError("the place does not let us list or give up uploads", file=address, why=why, fix=fix + _RULE)
    return NetworkError("the store does not say which uploads are unfinished", file=address, why=why, fix=_RULE)


def signed(asked: tuple[str, str, str, str], region: str, keys: tuple[str, str, str], time: datetime) -> dict[str, str]:
    """The headers of a request without a body.

    Args:
        asked: method, host, path and query, escaped, its parts sorted.
        keys: access key, secret key, and the token of a session or "".
    """
    key, secret, token = keys
    now, nothing = time.strftime("%Y%m%dT%H%M%SZ"), hashlib.sha256(b"").hexdigest()
    method, host, path, query = asked
    headers = {"host": host, "x-amz-content-sha256": nothing, "x-amz-date": now}
    if token:
        headers["x-amz-security-token"] = token
    names = ";".join(headers)
    lines = [method, path, query, *(f"{name}:{value}" for name, value in headers.items()), "", names, nothing]
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    signing = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), text):
        signing = hmac.digest(signing, part.encode(), "sha256")
    authorization = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signing.hex()}"
    return {**headers, "authorization": authorization}


def _keys(address: Address) -> tuple[str, str, str] | None:
    """Key, secret and token, from the environment or from the files of AWS's own tools; None where none are wanted."""
    if os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1"):
        return None
    names = ("access_key_id", "secret_access_key", "session_token")
    of_files = credentials.of_files()
    key, secret, token = (os.environ.get(f"AWS_{name.upper()}") or of_files.get(name, "") for name in names)
    if not key or not secret:
        raise SignInError(
            "unfinished uploads are only listed with a key",
            file=address,
            why="neither the environment nor ~/.aws has one; the role of a machine is not used for this",
            fix="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or " + _RULE,
        )
    return key, secret, token
