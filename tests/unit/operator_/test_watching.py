"""An operator whose watches end stops instead of running without them."""

from __future__ import annotations

import asyncio

import pytest

from tunecast_operator.runtime.watching import WatchEndedError, guarded


def test_a_forbidden_watch_ends_the_operator() -> None:
    async def refused() -> None:
        raise PermissionError("startupcaches is forbidden")

    with pytest.raises(WatchEndedError, match="startupcaches is forbidden") as raised:
        asyncio.run(guarded(refused()))
    assert raised.value.reason == "WatchEnded"


def test_an_operator_that_is_asked_to_stop_ends() -> None:
    async def ended() -> None:
        return

    asyncio.run(guarded(ended()))
