"""What the parts promise each other: messages, rights, generated pages, import rules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bus.message import Command, Kind, Message
from hemma import broker, generate, registry

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MESSAGES = generate.messages()


@pytest.mark.parametrize("page", generate.PAGES)
def test_generated_pages_are_current(page: str) -> None:
    assert generate.is_current(page, generate.PAGES[page]()), f"{page}: run `make docs`"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_message_and_every_field_is_described(message: type[Message]) -> None:
    assert (message.__doc__ or "").strip()
    assert not set(message.topic.levels) - set(message.model_fields)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_message_is_said_and_heard_by_somebody(message: type[Message]) -> None:
    assert generate.said_by(message)
    if issubclass(message, Command):
        assert generate.heard_by(message) == [message.topic.owner]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_the_kind_decides_how_a_message_is_carried(message: type[Message]) -> None:
    topic = message.topic
    assert topic.retain == (topic.kind is Kind.STATE)
    assert (topic.expires_s is not None) == (topic.kind is not Kind.STATE)
    is_command = topic.kind is Kind.COMMAND
    assert ("/cmd/" in topic.pattern) == issubclass(message, Command) == is_command


@pytest.mark.parametrize("name", registry.NAMES)
def test_a_process_may_write_only_below_its_own_name_or_ask_others(name: str) -> None:
    for address in broker.access()[name]["publish"]:
        owner = address.split("/")[2]
        assert owner == name or "/cmd/" in address


def test_two_addresses_never_belong_to_two_messages() -> None:
    patterns = [message.topic.filter() for message in MESSAGES]
    assert len(set(patterns)) == len(patterns)


def test_the_asyncapi_document_names_every_topic() -> None:
    document = json.loads(generate.asyncapi())
    assert document["asyncapi"] == "3.0.0"
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {message.topic.pattern for message in MESSAGES}
    references = str(document).split("#/components/schemas/")[1:]
    named = {reference.split("'")[0] for reference in references}
    assert named <= set(document["components"]["schemas"])


def test_imports_point_one_way() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([lint], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_example_configuration_is_good() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "hemma", "check-config", "config/site.example.yaml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_a_bad_configuration_is_told_all_at_once_with_exit_78(tmp_path: Path) -> None:
    example = (REPOSITORY / "config/site.example.yaml").read_text()
    plant = yaml.safe_load(example)
    plant["plant"]["modell"] = plant["plant"].pop("model")
    fourth = {"id": "inv4", "unit_id": 4, "rated_power_w": 5000.0}
    plant["inverters"]["links"][0]["units"].append(fourth)
    plant["broker"]["port"] = 123456
    file = tmp_path / "site.yaml"
    file.write_text(yaml.safe_dump(plant, sort_keys=False))
    result = subprocess.run(
        [sys.executable, "-m", "hemma", "check-config", str(file)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 78
    for told in ("plant.modell", "did you mean", "more than 3 cannot be kept", "broker.port"):
        assert told in result.stderr
    assert result.stderr.count("site.yaml:") >= 3
