"""Looking at a house from outside."""

from pathlib import Path

import pytest

from hemma.demo import free_port
from hemma.session import observing
from runtime.mqtt import BrokerAddress


class FoundItError(Exception):
    """Raised by whoever looks."""


async def test_what_a_look_at_the_house_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    nobody = BrokerAddress("127.0.0.1", free_port(), "hemma", password, guest=True)
    with pytest.raises(FoundItError):
        async with observing(nobody):
            raise FoundItError
