"""The section `inverters` of site.yaml."""

import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from bus.metering import Phase
from bus.units import Slug
from runtime.config import ConfigSection
from runtime.modbus.rtu import SerialSettings
from runtime.modbus.tcp import TcpSettings

MOST_UNITS = 3
"""As the reference product: user manual, technical data."""

Host = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=253)]
Pause = Annotated[float, Field(ge=0, le=1)]


class KeptConfig(ConfigSection):
    """Settings that the inverter keeps in flash: written only where they differ, and counted."""

    charge_from_grid: bool | None = None
    """Whether a charge may draw from the grid; empty: as it is."""
    reserve_soc_pct: Annotated[float, Field(ge=0, le=20)] | None = None
    """The inverter's own lower end of discharge; empty: as it is."""
    full_soc_pct: Annotated[float, Field(ge=90, le=100)] | None = None
    """The inverter's own upper end of charge; empty: as it is."""
    working_mode: Annotated[int, Field(ge=0, le=5, strict=True)] | None = None
    """What the battery does when nothing is forced, as the inverter counts it; empty: as it is."""

    def quantities(self) -> dict[str, float]:
        """By the register that keeps it."""
        return {name: float(chosen) for name, chosen in self if chosen is not None}


class UnitConfig(ConfigSection):
    """One inverter."""

    id: Slug
    """Its name on the bus and on screens."""
    unit_id: Annotated[int, Field(ge=0, le=247, strict=True)]
    """Its Modbus unit id; 0 exists on TCP only."""
    model: Literal["sun2000"] = "sun2000"
    """Which table of registers to use."""
    rated_power_w: Annotated[float, Field(gt=0, le=1e6)]
    """Rated AC power, from its nameplate; what it says itself counts once it has answered."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=3)] = tuple(Phase)
    """The phases that it feeds."""
    kept: KeptConfig = KeptConfig()
    """Settings in its flash."""
    own_failsafe_set: bool = False
    """Whether its own fail-safe for lost communication was set in the maker's app, and tried;
    without it nothing limits the inverter while the gateway is off, and a warning says so."""

    @model_validator(mode="after")
    def _phases_differ(self) -> Self:
        if len(set(self.phases)) != len(self.phases):
            raise ValueError("phases must differ")
        return self


class SerialConfig(ConfigSection):
    """An RS485 line."""

    port: Path
    """Stable name of the port, below /dev/serial/by-id or by-path."""
    baud: Literal[9600, 19200, 115200] = 9600
    """As set in the inverters."""
    parity: Literal["N", "E", "O"] = "N"
    """None, even or odd."""
    stop_bits: Literal[1, 2] = 1
    """Stop bits."""
    pause_s: Pause = 0.0
    """Silence that the devices need before a request, beyond 3.5 characters."""


class TlsConfig(ConfigSection):
    """Modbus inside TLS."""

    ca_file: Path | None = None
    """Certificate that the device's own must be signed by; empty: any is taken, the wire is only
    encrypted, as most inverters carry one that they signed themselves."""
    certificate_file: Path | None = None
    """Our certificate, if the device asks for one."""
    key_file: Path | None = None
    """Its key."""

    @model_validator(mode="after")
    def _certificate_has_key(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together")
        return self

    def context(self) -> ssl.SSLContext:
        """For connecting.

        Raises:
            OSError: A file is missing or is not what it should be.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # devices are reached by address
        if self.ca_file is None:
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_verify_locations(self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


class TcpConfig(ConfigSection):
    """A device or gateway on the network."""

    host: Host
    """Name or address."""
    port: Annotated[int, Field(ge=1, le=65535, strict=True)] = 502
    """502, or 6607 where the maker's app speaks TLS."""
    tls: TlsConfig | None = None
    """Empty: not encrypted."""
    pause_s: Pause = 0.0
    """Pause that the device needs between an answer and the next request."""
    settle_s: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Pause after connecting; real gateways drop earlier requests."""


class LinkConfig(ConfigSection):
    """One line or connection, and who is on it."""

    serial: SerialConfig | None = None
    """Either this or `tcp`."""
    tcp: TcpConfig | None = None
    """Either this or `serial`."""
    units: Annotated[tuple[UnitConfig, ...], Field(min_length=1)]
    """The inverters on it."""

    @model_validator(mode="after")
    def _one_way_and_distinct_units(self) -> Self:
        if (self.serial is None) == (self.tcp is None):
            raise ValueError("exactly one of serial and tcp must be set")
        if twice := _twice(unit.unit_id for unit in self.units):
            raise ValueError(f"unit_id {twice} is used twice on one link")
        if self.serial is not None and any(unit.unit_id == 0 for unit in self.units):
            raise ValueError("unit_id 0 addresses everybody on a serial line, nobody answers")
        return self

    @property
    def place(self) -> str:
        """Where it goes, for people."""
        return str(self.serial.port) if self.serial else f"{self.tcp.host}:{self.tcp.port}"  # type: ignore[union-attr]  # one of them is set

    def settings(self) -> SerialSettings | TcpSettings:
        """How to open it."""
        if self.serial is not None:
            line = self.serial
            return SerialSettings(
                str(line.port), line.baud, line.parity, line.stop_bits, line.pause_s
            )
        if self.tcp is None:
            raise ValueError("neither serial nor tcp")
        tcp = self.tcp
        return TcpSettings(
            tcp.host,
            tcp.port,
            tcp.tls.context() if tcp.tls is not None else None,
            settle_s=tcp.settle_s,
            silence_s=tcp.pause_s,
        )


class InvertersConfig(ConfigSection):
    """The inverters of the house and how they are reached."""

    links: tuple[LinkConfig, ...] = ()
    """Lines and connections; each is served on its own."""
    poll_period_s: Annotated[float, Field(ge=0.05, le=10)] = 0.25
    """From fast poll to fast poll of each inverter, if its link is as fast."""
    slow_period_s: Annotated[float, Field(ge=1, le=3600)] = 5.0
    """From slow poll to slow poll: state, alarms, strings, energies, battery bounds."""
    failsafe_limit_w: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """AC power that an inverter may feed when nobody has spoken since the start."""

    @property
    def units(self) -> Iterator[UnitConfig]:
        """All inverters."""
        return (unit for link in self.links for unit in link.units)

    @model_validator(mode="after")
    def _distinct_and_not_too_many(self) -> Self:
        units = list(self.units)
        if len(units) > MOST_UNITS:
            raise ValueError(
                f"{len(units)} inverters are listed; more than {MOST_UNITS} cannot be kept"
                f" within the limit in time, remove {units[MOST_UNITS].id}"
            )
        if twice := _twice(unit.id for unit in units):
            raise ValueError(f"id {twice} is used twice")
        if twice := _twice(link.place for link in self.links):
            raise ValueError(f"{twice} stands twice: put all its units in one link")
        return self


def _twice(names: Iterator[object]) -> str | None:
    """The first that stands more than once; None if none does."""
    return next((str(name) for name, count in Counter(names).items() if count > 1), None)
