"""`python -m services.metering`: measure the grid connection point."""

from collections.abc import Mapping
from typing import Any

from runtime.actor import Actor
from runtime.clock import Clock
from runtime.modbus.link import Link
from runtime.mqtt import MqttBus
from runtime.process import Service, Surroundings, main
from runtime.store import Store
from services.metering.config import (
    FileSourceConfig,
    MeteringConfig,
    MeterSourceConfig,
    SourceConfig,
    StreamSourceConfig,
)
from services.metering.meters import MODELS, ModbusMeter
from services.metering.service import MeteringService
from services.metering.sources import RecordedFile, Source, StreamClient


def make(bus: MqttBus, surroundings: Surroundings, config: Mapping[str, Any]) -> Actor:
    """Put the actor together."""
    metering: MeteringConfig = config["metering"]
    clock = surroundings.clock
    store = Store(surroundings.state_dir, "registers")
    return MeteringService(bus, clock, metering, make_source(metering.source, clock), store)


def make_source(config: SourceConfig, clock: Clock) -> Source:
    """The source that the configuration names; nothing is opened yet."""
    match config:
        case StreamSourceConfig():
            return StreamClient(config.host, config.port, clock)
        case FileSourceConfig():
            return RecordedFile(config.path, clock, paced=config.paced, repeat=config.repeat)
        case MeterSourceConfig():
            model = MODELS[config.model]
            unit = config.unit_id or model.unit
            return ModbusMeter(model, unit, _link(config, clock), clock, period_s=config.period_s)


def _link(config: MeterSourceConfig, clock: Clock) -> Link:
    if config.host is not None:
        from runtime.modbus.tcp import TcpPort, TcpSettings  # noqa: PLC0415  pymodbus takes 10 MB

        return Link(TcpPort(TcpSettings(config.host, config.port)), clock)
    from runtime.modbus.rtu import RtuPort, SerialSettings  # noqa: PLC0415  pyserial, the same

    line = SerialSettings(
        str(config.serial_port), config.baud_rate, config.parity, config.stop_bits
    )
    return Link(RtuPort(line), clock)


SERVICE = Service("metering", {"metering": MeteringConfig}, make)

if __name__ == "__main__":
    main(SERVICE)
