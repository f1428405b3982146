"""The RS485 line as a timeline; times are exact because no clock is involved."""

import itertools
from collections.abc import Sequence

import pytest

from sim.modbus import ModbusError, crc16, with_crc
from sim.station import Station
from sim.wire import Distort, Wire, silence_s

READ_TWO = bytes((3, 0, 100, 0, 2))


class Counting:
    """Registers that hold their own address."""

    def __init__(self) -> None:
        self.written: list[tuple[int, list[int]]] = []

    def read(self, function: int, address: int, count: int) -> bytes:
        if function != 3:
            raise ModbusError(1)
        return b"".join((address + i).to_bytes(2, "big") for i in range(count))

    def write(self, address: int, words: Sequence[int]) -> None:
        self.written.append((address, list(words)))

    def objects(self) -> dict[int, bytes]:
        return {}


def line(
    baud: int = 9600,
    *,
    device_s: float = 0.02,
    units: Sequence[int] = (1, 2),
    chunk_s: float = 1.05e-3,
    strict: bool = False,
    distort: Distort | None = None,
) -> Wire:
    stations = {
        unit: Station(f"unit{unit}", Counting(), device_s=(device_s, device_s)) for unit in units
    }
    return Wire(stations, baud=baud, chunk_s=chunk_s, strict=strict, distort=distort)


def collect(wire: Wire, until_s: float) -> list[tuple[float, bytes]]:
    """Let time run to each next moment."""
    got = []
    while (at_s := wire.next_s) <= until_s:
        through = wire.due(at_s)
        if through:
            got.append((at_s, through))
    return got


def whole(chunks: list[tuple[float, bytes]]) -> bytes:
    return b"".join(chunk for _, chunk in chunks)


@pytest.mark.parametrize(
    ("baud", "expected_s"),
    [
        pytest.param(9600, 3.5 * 11 / 9600, id="9600"),
        pytest.param(19200, 3.5 * 11 / 19200, id="19200"),
        pytest.param(115200, 1.75e-3, id="fixed above 19200"),
    ],
)
def test_the_silent_interval_is(baud: int, expected_s: float) -> None:
    assert silence_s(baud) == pytest.approx(expected_s)


@pytest.mark.parametrize("baud", [9600, 19200, 115200])
@pytest.mark.parametrize("registers", [1, 40, 125])
def test_an_answer_takes_its_wire_time(baud: int, registers: int) -> None:
    wire = line(baud, device_s=0.03)
    wire.heard(with_crc(bytes((1, 3, 0, 0, 0, registers))), 10.0)

    chunks = collect(wire, 20.0)

    character_s = 10 / baud
    end_s = 10.0 + (8 + 5 + 2 * registers) * character_s + silence_s(baud) + 0.03
    assert chunks[-1][0] == pytest.approx(end_s, abs=1e-9)
    assert len(whole(chunks)) == 5 + 2 * registers
    assert crc16(whole(chunks)) == 0
    begin_s = end_s - (5 + 2 * registers) * character_s
    for at_s, seen in [(at_s, whole(chunks[: i + 1])) for i, (at_s, _) in enumerate(chunks)]:
        assert len(seen) * character_s <= at_s - begin_s + 1e-9  # never earlier than on a wire
    gaps_s = [b[0] - a[0] for a, b in itertools.pairwise(chunks)]
    assert max(gaps_s, default=0) <= max(1.05e-3, character_s) + 1e-9


def test_a_request_written_in_pieces_is_one_frame() -> None:
    wire = line()
    frame = with_crc(bytes((1,)) + READ_TWO)
    wire.heard(frame[:3], 0.0)
    assert wire.due(0.003) == b""
    wire.heard(frame[3:], 0.004)
    assert whole(collect(wire, 1.0))[:3] == bytes((1, 3, 4))
    assert wire.report.requests == 1


def test_two_requests_without_silence_between_are_one_bad_frame() -> None:
    wire = line()
    frame = with_crc(bytes((1,)) + READ_TWO)
    wire.heard(frame + frame, 0.0)
    assert collect(wire, 1.0) == []
    assert wire.report.bad_frames == 1


@pytest.mark.parametrize(
    ("frame", "counter"),
    [
        pytest.param(with_crc(bytes((9,)) + READ_TWO), "unknown_units", id="nobody of that id"),
        pytest.param(bytes((1,)) + READ_TWO + b"\0\0", "bad_frames", id="check sum wrong"),
        pytest.param(b"\x01\x03", "bad_frames", id="too short"),
    ],
)
def test_nobody_answers(frame: bytes, counter: str) -> None:
    wire = line()
    wire.heard(frame, 0.0)
    assert collect(wire, 1.0) == []
    assert getattr(wire.report, counter) == 1


def test_a_broadcast_is_carried_out_by_all_and_answered_by_none() -> None:
    wire = line()
    wire.heard(with_crc(bytes((0, 6, 0, 7, 0, 1))), 0.0)
    assert collect(wire, 1.0) == []
    for station in wire.units.values():
        assert isinstance(station.device, Counting)
        assert station.device.written == [(7, [1])]


@pytest.mark.parametrize(
    ("pause", "early"),
    [
        pytest.param(0.5, 1, id="half the silence"),
        pytest.param(1.01, 0, id="all of it"),
    ],
)
def test_requests_too_early_are_counted(pause: float, early: int) -> None:
    wire = line()
    frame = with_crc(bytes((1,)) + READ_TWO)
    wire.heard(frame, 0.0)
    end_s = collect(wire, 1.0)[-1][0]

    wire.heard(frame, end_s + pause * silence_s(9600))

    assert wire.report.early_requests == early
    assert len(whole(collect(wire, 2.0))) == 9
    assert wire.report.shortest_silence_s == pytest.approx(pause * silence_s(9600))


def test_strict_units_do_not_answer_an_early_request() -> None:
    wire = line(strict=True)
    frame = with_crc(bytes((1,)) + READ_TWO)
    wire.heard(frame, 0.0)
    end_s = collect(wire, 1.0)[-1][0]
    wire.heard(frame, end_s + 0.001)
    assert collect(wire, 2.0) == []


def test_a_client_that_talks_into_an_answer_garbles_both() -> None:
    wire = line(device_s=0.0)
    frame = with_crc(bytes((1, 3, 0, 0, 0, 60)))
    wire.heard(frame, 0.0)
    middle_s = 0.06
    got = collect(wire, middle_s)

    wire.heard(frame, middle_s)
    got += collect(wire, 1.0)

    assert len(whole(got)) == 125
    assert crc16(whole(got)) != 0
    assert wire.report.collisions == 1
    assert wire.report.answers == 1


def test_a_late_answer_collides_with_the_answer_of_another_unit() -> None:
    wire = line(device_s=0.0)
    wire.units[1].late_s = 0.1
    wire.heard(with_crc(bytes((1, 3, 0, 0, 0, 20))), 0.0)
    wire.due(0.02)

    wire.heard(with_crc(bytes((2, 3, 0, 0, 0, 60))), 0.07)
    got = whole(collect(wire, 1.0))

    assert wire.report.collisions == 1
    assert got[:3] == bytes((2, 3, 120))  # began before the collision
    assert bytes((1, 3, 40)) not in got
    assert crc16(got[:125]) != 0


def test_a_late_answer_alone_arrives_whole() -> None:
    wire = line(device_s=0.0)
    wire.units[1].late_s = 0.5
    wire.heard(with_crc(bytes((1,)) + READ_TWO), 0.0)
    chunks = collect(wire, 1.0)
    assert chunks[0][0] > 0.5
    assert crc16(whole(chunks)) == 0


def test_muted_units_are_silent_and_garbled_ones_fail_the_check_sum() -> None:
    wire = line(units=(1,))
    frame = with_crc(bytes((1,)) + READ_TWO)
    wire.units[1].muted = True
    wire.heard(frame, 0.0)
    assert collect(wire, 1.0) == []
    wire.units[1].muted, wire.units[1].garble = False, 1.0
    wire.heard(frame, 2.0)
    assert crc16(whole(collect(wire, 3.0))) != 0


def test_a_storm_can_shape_every_answer() -> None:
    def echo_then_half(request: bytes, answered: bytes) -> list[tuple[float, bytes]]:
        return [(0.0, request), (0.05, answered[:4])]

    wire = line(distort=echo_then_half)
    frame = with_crc(bytes((1,)) + READ_TWO)
    wire.heard(frame, 0.0)
    assert whole(collect(wire, 1.0)) == frame + bytes((1, 3, 4, 0))
