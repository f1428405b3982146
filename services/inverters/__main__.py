"""`python -m services.inverters`: command and poll the inverters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.actor import Actor, Bus
from runtime.clock import Clock
from runtime.modbus.link import Link
from runtime.modbus.rtu import RtuPort, SerialSettings
from runtime.modbus.tcp import TcpPort, TcpSettings
from runtime.mqtt import MqttBus
from runtime.process import Service, Surroundings, main
from runtime.store import Store
from services.inverters.config import InvertersConfig
from services.inverters.drivers.modbus import ModbusInverter
from services.inverters.drivers.profile import Profile
from services.inverters.drivers.sun2000 import SUN2000
from services.inverters.ledger import FlashLedger
from services.inverters.service import InvertersService
from services.inverters.unit import InverterUnit

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (SUN2000,)}
"""Families by the name that site.yaml calls them by."""


def make(bus: MqttBus, surroundings: Surroundings, config: Mapping[str, Any]) -> Actor:
    """Put the actor together."""
    return assemble(bus, surroundings.clock, surroundings.state_dir, config["inverters"])


def assemble(bus: Bus, clock: Clock, state_dir: Path, config: InvertersConfig) -> InvertersService:
    """Ports, links, drivers and units as the configuration lists them."""
    ledger = FlashLedger(Store(state_dir, "flash-writes"))
    damage = ledger.load()
    links, units = [], []
    for at in config.links:
        link = Link(_port(at.settings()), clock)
        links.append(link)
        units += [
            InverterUnit(
                unit,
                ModbusInverter(link, unit.unit_id, PROFILES[unit.model]),
                clock,
                ledger,
                failsafe_limit_w=config.failsafe_limit_w,
                poll_period_s=config.poll_period_s,
                slow_period_s=config.slow_period_s,
            )
            for unit in at.units
        ]
    return InvertersService(bus, clock, links, units, damage)


def _port(settings: SerialSettings | TcpSettings) -> RtuPort | TcpPort:
    return RtuPort(settings) if isinstance(settings, SerialSettings) else TcpPort(settings)


SERVICE = Service("inverters", {"inverters": InvertersConfig}, make)

if __name__ == "__main__":
    main(SERVICE)
