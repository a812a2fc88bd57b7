"""Makes the bucket and its two accounts: one owns the bucket, and one may only read it."""

import datetime as dt
import hashlib
import hmac
import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path

from testcluster.cache import ClusterError
from testcluster.shell import run
from testcluster.state import BUCKET, S3_REGION, Cluster


def write_keys(cluster: Cluster) -> None:
    folder = cluster.state / "s3"
    folder.mkdir()
    accounts = ("owner", "reader")
    keys = {who: {"access": f"{who}-{cluster.name}", "secret": secrets.token_hex(20)} for who in accounts}
    path = folder / "keys.json"
    path.write_text(json.dumps(keys))
    path.chmod(0o600)


def read_keys(cluster: Cluster) -> dict[str, dict[str, str]]:
    keys: dict[str, dict[str, str]] = json.loads((cluster.state / "s3/keys.json").read_text())
    return keys


def ready(cluster: Cluster) -> bool:
    """Return whether the server answers; refusing an anonymous request is an answer."""
    try:
        _send(urllib.request.Request(cluster.s3_endpoint))
    except OSError as error:
        return isinstance(error, urllib.error.HTTPError)
    return True


def create_bucket(cluster: Cluster) -> None:
    keys = read_keys(cluster)
    owner, reader = keys["owner"], keys["reader"]
    program = Path(cluster.programs) / "versitygw"
    address = ["--endpoint-url", cluster.s3_endpoint, "--region", S3_REGION]
    secret = {"ADMIN_ACCESS_KEY": owner["access"], "ADMIN_SECRET_KEY": owner["secret"]}
    account = ["--access", reader["access"], "--secret", reader["secret"], "--role", "user"]
    run([program, "admin", *address, "create-user", *account], env=secret)
    _put(cluster, f"/{BUCKET}", "", b"")
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": [reader["access"]]},
        "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"],
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    _put(cluster, f"/{BUCKET}", "policy=", json.dumps(policy).encode())


def _send(request: urllib.request.Request) -> None:
    """Send a request without the host's proxy settings, because S3 is on this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=10).close()


def _put(cluster: Cluster, path: str, query: str, body: bytes) -> None:
    headers = _signed(cluster, path, query, body)
    address = f"{cluster.s3_endpoint}{path}?{query}" if query else cluster.s3_endpoint + path
    try:
        _send(urllib.request.Request(address, body, headers, method="PUT"))
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        raise ClusterError(f"S3 refused PUT {path}?{query} with {error.code}: {text}") from None


def _signed(cluster: Cluster, path: str, query: str, body: bytes) -> dict[str, str]:
    """Sign one PUT by the owner with AWS's signature version 4."""
    owner = read_keys(cluster)["owner"]
    now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{S3_REGION}/s3/aws4_request"
    host = cluster.s3_endpoint.removeprefix("http://")
    content = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "x-amz-content-sha256": content, "x-amz-date": now}
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    request = f"PUT\n{path}\n{query}\n{lines}\n{names}\n{content}"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}"
    key = f"AWS4{owner['secret']}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"Credential={owner['access']}/{scope}"
    proof = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={key.hex()}"
    return {**signed, "Authorization": proof}
