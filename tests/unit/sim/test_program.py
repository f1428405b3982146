"""The whole program: starts, is found, keeps time, stops."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.app import SCENARIOS

Running = tuple[dict[str, Any], subprocess.Popen[bytes]]
ROOT = SCENARIOS.parents[1]


def wait_for(path: Path) -> dict[str, Any]:
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sim", "--scenario", "mixed_links", "--state-dir", str(tmp_path)],
        cwd=ROOT,
    )
    yield wait_for(tmp_path / "sim.json"), process
    process.kill()
    process.wait()


def test_the_house_is_found_keeps_time_and_stops_cleanly(running: Running, tmp_path: Path) -> None:
    endpoints, process = running
    assert set(endpoints["lines"]) == {"rs485-1", "rs485-2"}
    assert set(endpoints["tcp"]) == {"gateway", "meter"}
    assert Path(endpoints["lines"]["rs485-1"]).exists()

    with (
        socket.create_connection(("127.0.0.1", endpoints["samples"]), 2) as samples,
        socket.create_connection(("127.0.0.1", endpoints["control"]), 2) as control,
    ):
        stream, orders = samples.makefile("rb"), control.makefile("rw")
        head = json.loads(stream.readline())
        names = [channel["name"] for channel in head["channels"]]
        assert names == ["u12", "u32", "i1", "i3"]
        began_s = time.monotonic()
        blocks = []
        first = int.from_bytes(stream.read(8), "little")
        blocks.append(stream.read(1280))
        for _ in range(24):
            index = int.from_bytes(stream.read(8), "little")
            blocks.append(stream.read(1280))
        took_s = time.monotonic() - began_s
        assert index - first == 24 * 160
        assert 0.3 < took_s < 2  # half a second of samples, some patience for a busy machine

        orders.write('{"do":"state"}\n')
        orders.flush()
        state = json.loads(orders.readline())
        scales = np.array([channel["scale"] for channel in head["channels"]])
        physical = np.frombuffer(b"".join(blocks[5:]), head["dtype"]).reshape(-1, 4) * scales
        weights = np.hanning(len(physical))[:, None] / np.hanning(len(physical)).sum()
        measured_w = 2000 * (weights * physical[:, :2] * physical[:, 2:]).sum()
        assert measured_w == pytest.approx(state["grid_power_w"], abs=150)
        stream.close()
        orders.close()

    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert list(tmp_path.iterdir()) == []
