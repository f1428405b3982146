"""Pages generated from the code: `hemma docs` writes them, `hemma docs --check` compares.

docs/bus.md and docs/asyncapi.json from what actors declare, broker/access.json (the rights that
Mosquitto enforces), docs/config.md from the configuration's models, docs/status.schema.json.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bus.message import Answer, Command, Message, Part
from bus.system import Faults, Health, Online
from hemma import broker, registry
from hemma.generate_config_docs import config_docs
from hemma.status_schema import status_schema
from runtime.config import BrokerConfig

REPOSITORY = Path(__file__).resolve().parent.parent
EVERY_PROCESS = (Online, Faults, Health)


def messages() -> list[type[Message]]:
    """Every message that a process of the house says or hears, by topic."""
    found: set[type[Message]] = set(EVERY_PROCESS)
    for name in registry.NAMES:
        actor = registry.actor_class(name)
        found.update(actor.publishes, actor.requests)
        found.update(kind for kind in actor.handlers if issubclass(kind, Message))
    return sorted(found, key=lambda message: message.topic.pattern)


def said_by(message: type[Message]) -> list[str]:
    """Who publishes it."""
    if message in EVERY_PROCESS:
        return ["every process"]
    actors = {name: registry.actor_class(name) for name in registry.NAMES}
    if issubclass(message, Command):
        return [name for name, actor in actors.items() if message in actor.requests] or ["hemma"]
    return [name for name, actor in actors.items() if message in actor.publishes]


def heard_by(message: type[Message]) -> list[str]:
    """Who subscribes to it, besides the `hemma` command, which hears everything."""
    return [name for name in registry.NAMES if message in registry.actor_class(name).handlers]


def bus_page() -> str:
    """docs/bus.md: every topic with its fields."""
    lines = [
        "# The bus",
        "",
        "Generated from `bus/` and from what each actor declares: `make docs`.",
        "Payloads are msgpack maps; times are msgpack timestamps, UTC; unknown is nil, never 0.",
        "Power is positive towards the house: import, production, discharge.",
        "",
        "| topic | kind | QoS | expires | from | to |",
        "|---|---|---|---|---|---|",
    ]
    for message in messages():
        topic = message.topic
        expires = f"{topic.expires_s} s" if topic.expires_s else "-"
        kept = ", retained" if topic.retain else ""
        lines.append(
            f"| [`{topic.pattern}`](#{message.__name__.lower()}) | {topic.kind}{kept} | {topic.qos}"
            f" | {expires} | {', '.join(said_by(message))}"
            f" | {', '.join(heard_by(message)) or '-'} |"
        )
    lines += ["", "The `hemma` command hears every topic and may send every command.", ""]
    described: set[type[BaseModel]] = set()
    for message in messages():
        lines += _describe(message, described)
    lines += ["## Answers", "", "Every command is answered on the caller's response topic:", ""]
    return "\n".join(lines + _answer_lines()) + "\n"


def _answer_lines() -> list[str]:
    return ["| field | type | meaning |", "|---|---|---|", *_field_rows(Answer), ""]


def _describe(model: type[BaseModel], described: set[type[BaseModel]]) -> list[str]:
    described.add(model)
    depth = "##" if issubclass(model, Message) else "###"
    lines = [f"{depth} {model.__name__}", "", (model.__doc__ or "").strip(), ""]
    if issubclass(model, Message):
        lines += [f"`{model.topic.pattern}`", ""]
    lines += ["| field | type | meaning |", "|---|---|---|", *_field_rows(model), ""]
    for part in _parts(model):
        if part not in described:
            lines += _describe(part, described)
    return lines


def _field_rows(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        text = " ".join((field.description or "").split())
        yield f"| `{name}` | {type_name(field)} | {text} |"


def type_name(field: FieldInfo) -> str:
    """A field's type in a reader's words."""
    return _name(field.annotation)


def _name(annotation: Any) -> str:  # noqa: ANN401, PLR0911  a type expression; a line a form
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name(arguments[0])
    if origin in {Union, UnionType}:
        named = [_name(a) for a in arguments if a is not type(None)]
        return " or ".join([*named, "nil"] if type(None) in arguments else named)
    if origin is tuple:
        return f"list of {_name(arguments[0])}"
    if origin is dict:
        return f"map of {_name(arguments[0])} to {_name(arguments[1])}"
    if annotation is Any:
        return "any"
    if isinstance(annotation, type) and hasattr(annotation, "__members__"):
        return " \\| ".join(f"`{member}`" for member in annotation)  # type: ignore[attr-defined]
    names = {"datetime": "time", "str": "text", "float": "number", "int": "integer", "bool": "bool"}
    return names.get(str(annotation.__name__), str(annotation.__name__))


def _parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        yield from _models_in(field.annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401  a type expression
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def asyncapi() -> str:
    """docs/asyncapi.json: the same, for programs (AsyncAPI 3.0.0)."""
    schemas: dict[str, Any] = {}
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for message in messages():
        name = message.__name__
        schema = message.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
        topic = message.topic
        channels[name] = {
            "address": topic.pattern,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "parameters": {level: {} for level in topic.levels},
            "bindings": {"mqtt": {}},
        }
        bindings: dict[str, Any] = {"qos": topic.qos, "retain": topic.retain}
        if topic.expires_s is not None:
            bindings["messageExpiryInterval"] = topic.expires_s
        for action, processes in (("send", said_by(message)), ("receive", heard_by(message))):
            for process in processes:
                operations[f"{process.replace(' ', '-')}.{action}.{name}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{name}"},
                    "bindings": {"mqtt": bindings},
                }
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hemma's bus",
            "version": "v1",
            "description": "Processes of one home energy controller over a local MQTT 5 broker.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/msgpack",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                message.__name__: {
                    "summary": (message.__doc__ or "").strip().split("\n")[0],
                    "payload": {"$ref": f"#/components/schemas/{message.__name__}"},
                }
                for message in messages()
            },
            "schemas": dict(sorted(schemas.items())),
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def access_list() -> str:
    """broker/access.json: what each credential may publish and subscribe to."""
    return json.dumps(broker.access(), indent=1) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/bus.md": bus_page,
    "docs/asyncapi.json": asyncapi,
    "broker/access.json": access_list,
    "docs/config.md": lambda: config_docs({"broker": BrokerConfig, **registry.sections()}),
    "docs/status.schema.json": lambda: json.dumps(status_schema(), indent=1) + "\n",
}


def write_pages(*, check: bool) -> int:
    """Write the pages that are not current, or only name them; returns the exit code."""
    stale = [page for page, text in PAGES.items() if not is_current(page, text())]
    for page in stale:
        print(f"{page}: {'not current, run `make docs`' if check else 'written'}")
        if not check:
            (REPOSITORY / page).write_text(PAGES[page]())
    return 1 if check and stale else 0


def is_current(page: str, text: str) -> bool:
    """Whether the page in the repository is what the code says now."""
    file = REPOSITORY / page
    return file.exists() and file.read_text() == text
