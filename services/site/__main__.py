"""`python -m services.site`: keep the plant's settings."""

from collections.abc import Mapping
from typing import Any

from bus.site import PlantSettings
from runtime.actor import Actor
from runtime.mqtt import MqttBus
from runtime.process import Service, Surroundings, main
from services.site.config import InitialSettings, seed
from services.site.service import SiteService


def make(bus: MqttBus, surroundings: Surroundings, config: Mapping[str, Any]) -> Actor:
    """Put the actor together."""
    initial = seed(config["plant"], config["settings"])
    return SiteService(bus, surroundings.clock, initial, surroundings.state_dir / "settings")


SERVICE = Service("site", {"plant": PlantSettings, "settings": InitialSettings}, make)

if __name__ == "__main__":
    main(SERVICE)
