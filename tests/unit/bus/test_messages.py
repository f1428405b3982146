"""What goes over the wire comes back the same, and nothing else gets through."""

from datetime import UTC, datetime

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.message import Answer, Message, UnreadableError
from bus.metering import GridReading, GridSystem, Phase, PhaseReading, QualityFlag
from bus.policy import Reason
from bus.site import ChangeSettings, FeedInMode, FeedInSettings
from bus.system import Fault, Faults, Online, Severity

NOON = datetime(2026, 6, 21, 10, 0, 0, 123456, tzinfo=UTC)


def grid_reading() -> GridReading:
    phase = PhaseReading(
        phase=Phase.L1,
        voltage_v=230.1,
        current_a=None,
        active_power_w=-100.0,
        reactive_power_var=None,
        apparent_power_va=None,
        power_factor=None,
    )
    return GridReading(
        sequence=7,
        measured_at=NOON,
        window_s=0.2,
        grid_system=GridSystem.SINGLE_PHASE,
        grid_power_w=-100.0,
        reactive_power_var=None,
        apparent_power_va=None,
        power_factor=None,
        frequency_hz=49.98,
        phases=(phase,),
        flags=(QualityFlag.ESTIMATED,),
    )


def test_a_grid_reading_survives_the_wire() -> None:
    sent = grid_reading()
    assert GridReading.decode(sent.encode(), "hemma/v1/metering/grid/reading") == sent


def test_a_reader_ignores_fields_that_it_does_not_know() -> None:
    fields = {**grid_reading().model_dump(), "colour": "blue"}
    assert GridReading.decode(msgpack.packb(fields, datetime=True)) == grid_reading()


def test_fields_and_topic_cannot_disagree() -> None:
    lie = Online(process="policy", online=True)
    with pytest.raises(UnreadableError, match="fields say hemma/v1/policy/online"):
        Online.decode(lie.encode(), "hemma/v1/metering/online")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        pytest.param("grid_power_w", "100", id="text for a power"),
        pytest.param("grid_power_w", float("nan"), id="not a number"),
        pytest.param("grid_power_w", float("inf"), id="infinite power"),
        pytest.param("grid_power_w", 2e6, id="more power than a home can have"),
        pytest.param("grid_power_w", None, id="unknown where a power is a must"),
        pytest.param("measured_at", 1234.5, id="a time that is no time", marks=()),
        pytest.param("sequence", -1, id="counting backwards"),
        pytest.param("grid_system", "4P5W", id="a grid that does not exist"),
        pytest.param("phases", {"L1": 1}, id="phases in another shape"),
    ],
)
def test_a_grid_reading_with_a_wrong_field_is_refused(field: str, wrong: object) -> None:
    fields = {**grid_reading().model_dump(), field: wrong}
    if field == "measured_at":
        fields[field] = "noon"
    with pytest.raises(UnreadableError, match=field):
        GridReading.decode(msgpack.packb(fields, datetime=True))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_reason(payload: bytes) -> None:
    for kind in (GridReading, Online, Faults, ChangeSettings):
        try:
            assert isinstance(kind.decode(payload), Message)
        except UnreadableError as error:
            assert str(error)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["sequence", "measured_at", "window_s", "grid_power_w", "phases", "process"]
        ),
        _json,
    )
)
def test_any_map_gives_a_message_or_a_reason(fields: dict[str, object]) -> None:
    payload = msgpack.packb(fields)
    for kind in (GridReading, Online, Faults):
        try:
            assert isinstance(kind.decode(payload), Message)
        except UnreadableError as error:
            assert str(error)


@given(st.binary(max_size=100))
def test_any_bytes_give_an_answer_or_a_reason(payload: bytes) -> None:
    try:
        assert isinstance(Answer.decode(payload), Answer)
    except UnreadableError as error:
        assert str(error)


def test_a_giant_payload_is_refused_unread() -> None:
    with pytest.raises(UnreadableError, match="300000 bytes"):
        Online.decode(b"\x00" * 300_000)


def test_faults_keep_their_severity_and_time() -> None:
    fault = Fault(
        code="meter-silent", severity=Severity.CRITICAL, text="no samples", since=NOON, device=None
    )
    sent = Faults(process="metering", faults=(fault,))
    assert Faults.decode(sent.encode(), "hemma/v1/metering/faults") == sent


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        pytest.param({"mode": FeedInMode.ZERO}, True, id="zero needs no figure"),
        pytest.param({"mode": FeedInMode.WATTS, "limit_w": 3000.0}, True, id="watts with watts"),
        pytest.param({"mode": FeedInMode.WATTS}, False, id="watts without a figure"),
        pytest.param({"mode": FeedInMode.ZERO, "limit_w": 1.0}, False, id="zero with a figure"),
        pytest.param({"mode": FeedInMode.PERCENT, "limit_pct": 60.0}, True, id="per cent"),
        pytest.param({"mode": FeedInMode.PERCENT, "limit_pct": 160.0}, False, id="160 per cent"),
        pytest.param({"mode": FeedInMode.ZERO, "limitw": None}, False, id="an unknown key"),
    ],
)
def test_feed_in_settings_fit_together(fields: dict[str, object], accepted: bool) -> None:
    if accepted:
        FeedInSettings.model_validate(fields, extra="forbid")
    else:
        with pytest.raises(ValueError, match="limit"):
            FeedInSettings.model_validate(fields, extra="forbid")


def test_reasons_can_stand_in_a_topic_or_a_table() -> None:
    assert all(reason.value == reason.value.lower() for reason in Reason)
