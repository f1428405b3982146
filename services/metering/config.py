"""The section `metering` of site.yaml."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from bus.metering import GridSystem
from runtime.config import ConfigSection
from services.metering.calibration import (
    LARGEST_PHASE_ERROR_DEG,
    LARGEST_RATIO_ERROR_PCT,
    Channel,
    CtCurve,
    ErrorPoint,
)
from services.metering.ct import CurrentTransformer, external_ct, internal_ct
from services.metering.systems import LAYOUTS, Metrology

Host = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=253)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
RatioErrorPct = Annotated[float, Field(ge=-LARGEST_RATIO_ERROR_PCT, le=LARGEST_RATIO_ERROR_PCT)]
PhaseErrorDeg = Annotated[float, Field(ge=-LARGEST_PHASE_ERROR_DEG, le=LARGEST_PHASE_ERROR_DEG)]
Words = Annotated[str, StringConstraints(max_length=200)]

_VOLTAGES = {True: (346.0, 415.0), False: (100.0, 240.0)}
"""Nominal voltages by whether they are between lines."""


class StreamSourceConfig(ConfigSection):
    """Samples of a converter, or of the simulated house, over TCP."""

    kind: Literal["stream"]
    host: Host = "127.0.0.1"
    """Where the samples are served."""
    port: Port = 7310
    """TCP port there."""


class FileSourceConfig(ConfigSection):
    """Samples that were recorded."""

    kind: Literal["file"]
    path: Path
    """A file in the format of the stream."""
    paced: bool = True
    """Play it at the pace of the recording; false: as fast as it can be read."""
    repeat: bool = False
    """Begin again at its end."""


class MeterSourceConfig(ConfigSection):
    """A Modbus meter that measures by itself."""

    kind: Literal["modbus"]
    model: Literal["SDM630", "DTSU666-H"]
    """Which table of registers to read by."""
    unit_id: Annotated[int, Field(ge=1, le=247, strict=True)] | None = None
    """Modbus unit; empty: as the model is delivered."""
    host: Host | None = None
    """Modbus TCP device or gateway; either this or `serial_port`."""
    port: Port = 502
    """Its TCP port."""
    serial_port: Path | None = None
    """RS485 line, by its stable name below /dev/serial; the meter must be alone on it."""
    baud_rate: Literal[9600, 19200, 115200] = 9600
    """Of the RS485 line."""
    parity: Literal["N", "E", "O"] = "N"
    """Of the RS485 line."""
    stop_bits: Literal[1, 2] = 1
    """Of the RS485 line."""
    period_s: Annotated[float, Field(ge=0.1, le=10)] = 0.25
    """From poll to poll, if the line is as fast."""

    @model_validator(mode="after")
    def _one_way_there(self) -> Self:
        if (self.host is None) == (self.serial_port is None):
            raise ValueError("exactly one of host and serial_port must be set")
        return self


class InternalCtConfig(ConfigSection):
    """The transformers inside the gateway, up to 63 A."""

    kind: Literal["internal"]
    maximum_a: Annotated[float, Field(gt=0)] = 63.0
    """Highest current; at most 63."""
    basic_a: Annotated[float, Field(gt=0)] = 10.0
    """Basic current Ib; counting starts at 0.004 of it."""
    ratio: Annotated[float, Field(ge=1, le=100_000)] = 2000.0
    """Primary over secondary."""

    def transformer(self) -> CurrentTransformer:
        """The transformer that these lines describe."""
        return internal_ct(self.maximum_a, self.basic_a, self.ratio)

    @model_validator(mode="after")
    def _exists(self) -> Self:
        self.transformer()
        return self


class ExternalCtConfig(ConfigSection):
    """Transformers around the mains leads, N x 50 A to 50 mA."""

    kind: Literal["external"]
    primary_a: Annotated[float, Field(gt=0, le=10_000)] = 100.0
    """Rated primary current: 100, 150, 200, ..."""
    secondary_a: Annotated[float, Field(gt=0)] = 0.05
    """Rated secondary current; the ratio must be 2000:1 or more."""

    def transformer(self) -> CurrentTransformer:
        """The transformer that these lines describe."""
        return external_ct(self.primary_a, self.secondary_a)

    @model_validator(mode="after")
    def _exists(self) -> Self:
        self.transformer()
        return self


class CurvePointConfig(ConfigSection):
    """The error of a transformer at one load."""

    load_pct: Annotated[float, Field(gt=0, le=1000)]
    """Primary current, % of the rated one."""
    ratio_error_pct: RatioErrorPct
    """Above 0: reads too much."""
    phase_error_deg: PhaseErrorDeg
    """Above 0: leads."""


class ChannelConfig(ConfigSection):
    """How one channel deviates, as found at calibration."""

    name: Literal["u1", "u2", "u3", "u12", "u32", "i1", "i2", "i3"]
    """The channel, as the terminals are labelled."""
    gain_error_pct: RatioErrorPct = 0.0
    """Above 0: reads too much, at every load."""
    phase_error_deg: PhaseErrorDeg = 0.0
    """Above 0: leads."""
    delay_us: Annotated[float, Field(ge=-200, le=200)] = 0.0
    """How much later than the others it is sampled."""
    offset: Annotated[float, Field(ge=0, le=10)] = 0.0
    """RMS reading with nothing connected, in V or primary A."""
    curve: tuple[CurvePointConfig, ...] = ()
    """The transformer's own errors by load, loads rising; for currents only."""

    def channel(self) -> Channel:
        """The calibration that these lines describe."""
        points = [ErrorPoint(p.load_pct, p.ratio_error_pct, p.phase_error_deg) for p in self.curve]
        return Channel(
            self.gain_error_pct,
            self.phase_error_deg,
            self.delay_us,
            self.offset,
            CtCurve(points) if points else None,
        )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.curve and self.name.startswith("u"):
            raise ValueError("a voltage channel has no CT curve")
        self.channel()
        return self


class CalibrationConfig(ConfigSection):
    """What was found when the meter was compared with a reference, and by whom."""

    serial: Words
    """Serial number of what was calibrated: board and transformers."""
    calibrated_on: date
    """Day of the comparison."""
    reference: Words
    """The instrument compared with, and its certificate."""
    operator: Words
    """Who did it."""
    channels: tuple[ChannelConfig, ...]
    """Each channel's errors."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [channel.name for channel in self.channels]
        if len(set(names)) != len(names):
            raise ValueError("a channel stands twice")
        return self


SourceConfig = Annotated[
    StreamSourceConfig | FileSourceConfig | MeterSourceConfig, Field(discriminator="kind")
]
CtConfig = Annotated[InternalCtConfig | ExternalCtConfig, Field(discriminator="kind")]


class MeteringConfig(ConfigSection):
    """The measurement at the grid connection point."""

    source: SourceConfig = StreamSourceConfig(kind="stream")
    """Where measurements come from."""
    grid_system: GridSystem = GridSystem.THREE_PHASE_FOUR_WIRE
    """How the house is wired: 1P2W, 3P3W or 3P4W."""
    nominal_voltage_v: float | None = None
    """To neutral 100 to 240, in a three-wire system between lines 346 to 415; empty: 230 or 400."""
    nominal_frequency_hz: Literal[50, 60] = 50
    """Used only while no voltage tells the frequency."""
    ct: CtConfig = ExternalCtConfig(kind="external")
    """The current transformers; a Modbus meter has its own."""
    calibration: CalibrationConfig | None = None
    """What was found at calibration; empty: channels are taken as they are."""
    netting_s: Annotated[float, Field(ge=0.2, le=3600)] = 0.2
    """Import and export within this time are set against each other in the registers."""
    persist_s: Annotated[float, Field(ge=1, le=3600)] = 10.0
    """Registers are stored this often; so much can be lost by a crash."""
    longest_fill_s: Annotated[float, Field(ge=0, le=60)] = 10.0
    """A gap in the samples up to this long is filled in with its neighbours' mean."""

    @property
    def voltage_v(self) -> float:
        """The nominal voltage, with its default."""
        three_wire = self.grid_system is GridSystem.THREE_PHASE_THREE_WIRE
        return self.nominal_voltage_v or (400.0 if three_wire else 230.0)

    def metrology(self) -> Metrology:
        """The installation that these lines describe."""
        calibrated = self.calibration.channels if self.calibration else ()
        return Metrology(
            self.grid_system,
            self.ct.transformer(),
            self.voltage_v,
            float(self.nominal_frequency_hz),
            {channel.name: channel.channel() for channel in calibrated},
        )

    @model_validator(mode="after")
    def _fits_the_system(self) -> Self:
        low, high = _VOLTAGES[self.grid_system is GridSystem.THREE_PHASE_THREE_WIRE]
        if not low <= self.voltage_v <= high:
            raise ValueError(
                f"nominal_voltage_v is {low:g} to {high:g} in a {self.grid_system} system; "
                f"{self.voltage_v:g} is not"
            )
        layout = LAYOUTS[self.grid_system]
        known = layout.voltages + layout.currents
        for channel in self.calibration.channels if self.calibration else ():
            if channel.name not in known:
                raise ValueError(f"a {self.grid_system} system has no channel {channel.name}")
        return self
