"""`python -m services.policy`: decide."""

from collections.abc import Mapping
from typing import Any

from runtime.actor import Actor
from runtime.mqtt import MqttBus
from runtime.process import Service, Surroundings, main
from services.policy.config import PolicyConfig
from services.policy.service import PolicyService


def make(bus: MqttBus, surroundings: Surroundings, config: Mapping[str, Any]) -> Actor:
    """Put the actor together."""
    return PolicyService(bus, surroundings.clock, config["policy"])


SERVICE = Service("policy", {"policy": PolicyConfig}, make)

if __name__ == "__main__":
    main(SERVICE)
