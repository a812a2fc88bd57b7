"""The parts of a secret that are searched for, with secrets as users mount them."""

from __future__ import annotations

import json

import pytest

from tunecast_core.trust.secret_values import MOST_LINES, distinct, parts

BODY = [
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
    "MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu",
]
PEM = "\n".join(["-----BEGIN PRIVATE KEY-----", *BODY, "-----END PRIVATE KEY-----", ""])
CERTIFICATE = (
    f"-----BEGIN CERTIFICATE-----\n{'MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w' * 2}\n-----END CERTIFICATE-----\n"
)
ACCOUNT = {
    "type": "service_account",
    "project_id": "models-1",
    "private_key": PEM,
    "client_email": "tuner@models-1.iam.gserviceaccount.com",
    "auth_uri": "https://accounts.google.com/o/oauth2/auth",
}
AWS_KEY, AWS_SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
AWS = f"[default]\naws_access_key_id = {AWS_KEY}\naws_secret_access_key = {AWS_SECRET}\nregion = us-east-1\n"
NETRC = "machine huggingface.co\n  login somebody\n  password hunter-two\n"
HUB = "hf_0123456789abcdefABCDEF"


def looked_for(text: str) -> set[str]:
    return {part.decode() for part in distinct(text.encode())}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HUB, {HUB}),
        (f"{HUB}\n", {HUB}),
        (f"  {HUB}\r\n\r\n", {HUB}),
        (f"first line\r\n{HUB}\r\nlast one\r\n", {"first line", HUB, "last one"}),
        (PEM, {*BODY}),
        (PEM.replace("\n", "\r\n"), {*BODY}),
        (json.dumps(ACCOUNT), {*BODY}),
        (json.dumps(ACCOUNT, indent=2), {*BODY}),
        (json.dumps([{"auth": {"token": "hunter-two"}}]), {"hunter-two"}),
        (json.dumps({"hub": HUB}), {HUB}),
        (AWS, {AWS_KEY, AWS_SECRET}),
        (NETRC, {"hunter-two", "password hunter-two"}),
        (f"export HF_TOKEN='{HUB}'\nDEBUG=1\n", {HUB, f"export HF_TOKEN='{HUB}'"}),
        (f"{CERTIFICATE}{PEM}", {*BODY}),
        ('with "quotes"', {'with "quotes"', 'with \\"quotes\\"'}),
    ],
)
def test_each_line_and_each_value_is_looked_for(text: str, found: set[str]) -> None:
    assert found <= looked_for(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", "12345", "true", "false", "0", "1", "8192", "131072", "-1", "0.95", "default", "Disabled",
        "localhost", "us-east-1", "eu-central-2", "https://s3.amazonaws.com", "https://huggingface.co/",
        "http://127.0.0.1:9000", "-----BEGIN PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----\r\n", "[default]",
        "[profile models]", CERTIFICATE,
    ],
)  # fmt: skip
def test_short_or_common_values_are_not_searched_for(text: str) -> None:
    """Otherwise layers without secrets would be left out."""
    assert looked_for(text) == set()


@pytest.mark.parametrize(
    ("text", "common"),
    [
        (PEM, "-----BEGIN PRIVATE KEY-----"),
        (json.dumps(ACCOUNT, indent=2), "service_account"),
        (json.dumps(ACCOUNT, indent=2), "https://accounts.google.com/o/oauth2/auth"),
        (json.dumps(ACCOUNT, indent=2), '"type": "service_account",'),
        (AWS, "[default]"),
        (AWS, "us-east-1"),
        (NETRC, "huggingface.co"),
        ("a: 1\nb: 2\n", "a: 1"),
    ],
)
def test_common_parts_of_a_secret_are_not_searched_for(text: str, common: str) -> None:
    assert common not in looked_for(text)


@pytest.mark.parametrize("text", [b"\xff\xfe\xfd\xff\xfe\xfd", b'{"a": "\\ud800ffffffffffff"}', b"[" * 9999, b"{"])
def test_any_bytes_can_be_a_secret(text: bytes) -> None:
    assert text in parts(text) or len(text) < 6


def test_numbers_of_ten_digits_are_looked_for() -> None:
    assert looked_for("1234567890") == {"1234567890"}


def test_texts_are_redacted_of_common_values_too() -> None:
    assert b"131072" in parts(b"131072\n")


def test_the_lines_of_one_secret_are_bounded() -> None:
    assert len(parts(b"\n".join(b"line-%d" % n for n in range(9 * MOST_LINES)))) < 2 * MOST_LINES
