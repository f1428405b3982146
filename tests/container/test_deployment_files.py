"""What the deployment files promise, as far as it can be read without running them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hemma import registry
from hemma.broker import OPERATOR
from hemma.check_config import check_config

REPOSITORY = Path(__file__).resolve().parent.parent.parent
COMPOSE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CREDENTIALS = "/run/hemma/credentials"


def mounts(service: dict[str, Any]) -> list[str]:
    return [volume for volume in service["volumes"] if isinstance(volume, str)]


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_process_is_a_container_with_one_password_and_one_state(name: str) -> None:
    assert mounts(SERVICES[name]) == [
        f"{name}-secrets:{CREDENTIALS}:ro",
        f"{name}-state:/var/lib/hemma",
    ]
    assert SERVICES[name]["command"] == ["python", "-m", f"services.{name}"]


def test_init_has_a_volume_for_every_credential() -> None:
    expected = {f"{name}-secrets:/secrets/{name}" for name in ("init", "broker", *registry.NAMES)}
    expected.add(f"operator-secrets:/secrets/{OPERATOR}")
    assert set(mounts(SERVICES["init"])) == expected


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["user"] != "0:0" or name == "init"


@pytest.mark.parametrize("name", ["broker", "sim", *registry.NAMES])
def test_what_shall_run_is_watched_and_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"]


def test_only_the_lan_listener_leaves_the_gateway_by_default() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"broker", "sim"}
    for ports in published.values():
        assert all("127.0.0.1" in port for port in ports)


@pytest.mark.parametrize(
    "lock", sorted((REPOSITORY / "requirements").glob("*.txt")), ids=lambda lock: lock.stem
)
def test_a_lock_pins_by_hash_and_names_no_address(lock: Path) -> None:
    lines = lock.read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith(" ")]
    hashes = [line for line in lines if line.startswith("    --hash=sha256:")]
    assert len(pins) + len(hashes) == len(lines)
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    assert not [line for line in lines if "//" in line or "@" in line]


def test_the_simulated_house_of_the_containers_can_be_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check_config(REPOSITORY / "config" / "site.container.yaml") == 0, capsys.readouterr()
