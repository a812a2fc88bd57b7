"""The addresses where engines serve, by their command lines, and who can reach them."""

from __future__ import annotations

import re

import pytest

from tunecast_core.engine.command_line import read
from tunecast_core.engine.listen import Listen, listen


def listening(flags: str) -> Listen:
    return listen(read(["vllm", "serve", "m", *flags.split()]))


ANY4, ANY6 = ("127.0.0.1", "::1"), ("::1", "127.0.0.1")


@pytest.mark.parametrize(
    ("flags", "tls", "addresses"),
    [
        ("", False, ANY4),
        ("--host 0.0.0.0", False, ANY4),
        ("--host=::", False, ANY6),
        ("--host 10.1.2.3", False, ("10.1.2.3",)),
        ("--ho fd00::7", False, ("fd00::7",)),
        ("--ssl-keyfile /k --ssl-certfile /c", True, ANY4),
        ("--ssl_keyfile=/k --ssl-certf=/c", True, ANY4),
        ("--ssl-certfile /both", True, ANY4),
        ("--ssl-ca-certs /ca", False, ANY4),
        ("--enable-ssl-refresh", False, ANY4),
        ("--ssl-cert-reqs 2", False, ANY4),  # of no effect without a certificate
        ("--ssl-certfile /c --ssl-cert-reqs 1", True, ANY4),  # clients may do without one
    ],
)
def test_where_it_listens(flags: str, tls: bool, addresses: tuple[str, ...]) -> None:
    found = listening(flags)
    assert (found.tls, found.addresses, found.refusal()) == (tls, addresses, "")


LOOPBACKS = ("127.0.0.1", "127.1", "127.8.9.10", "localhost", "LOCALHOST", "ip6-localhost", "::1", "[::1]")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        *((f"--host {host}", r"leave out --host, or set it to 0\.0\.0\.0") for host in LOOPBACKS),
        ("--hos=::ffff:127.0.0.1", "leave out --host"),
        ("--uds /run/engine.sock", r"the Unix socket /run/engine\.sock, where no probe reaches it"),
        ("--ud=/s", "leave out --uds"),
        ("--ssl-certfile /c --ssl-keyfile /k --ssl-ca-certs /ca --ssl-cert-reqs 2", "demands a client certificate"),
        ("--ssl_certfile /c --ssl_cert_reqs=2", "leave out --ssl-cert-reqs"),
        ("--grpc", "serves no HTTP"),
        ("--headless", "serves no HTTP"),
    ],
)
def test_where_nobody_reaches_it(flags: str, words: str) -> None:
    assert re.search(words, listening(flags).refusal())
