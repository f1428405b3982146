"""docs/config.md: every key of site.yaml with what is permitted, its default and its meaning.

The texts are the field docstrings of the configuration's models, the bounds are theirs too.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from runtime.explain import branches, description, entries_of

HEAD = """\
# site.yaml

Generated from the configuration's models: `make docs`.

One file describes the plant; each process reads its own sections at its start. A section may be
left out when all its keys have a default. Unknown keys are refused, so that a slip of the pen does
not go unnoticed. `hemma check-config FILE` lists everything that is wrong, with file, line, key and
what would be right; a process that cannot use its configuration ends with exit code 78.

The file is read by the core schema of YAML 1.2: only `true` and `false` are booleans (`no` and
`off` are texts), `12:30` is a text, numbers may be written `1e3` or `0x1f`. Tags and aliases are
refused. Units end the names: `_w` is W, `_pct` is %, and so on. "None" in a meaning: the key is
left out.
"""

UNITS = {
    "_w": "W",
    "_wh": "Wh",
    "_var": "var",
    "_va": "VA",
    "_v": "V",
    "_a": "A",
    "_hz": "Hz",
    "_s": "s",
    "_ms": "ms",
    "_pct": "%",
    "_degc": "°C",
    "_deg": "°",
}

Schema = Mapping[str, Any]


def config_docs(sections: Mapping[str, type[BaseModel]]) -> str:
    """The page for these sections, in their order."""
    pages = [HEAD]
    for name, model in sections.items():
        schema = model.model_json_schema()
        for form in branches(schema, schema.get("$defs", {})):
            pages += _group("##", name, form, schema.get("$defs", {}))
    return "\n".join(pages)


def _group(heading: str, path: str, form: Schema, definitions: Schema) -> Iterator[str]:
    """One group of keys as a table, then the groups within it."""
    fields: dict[str, Schema] = form.get("properties", {})
    kinds = [f"{key}: {field['const']}" for key, field in fields.items() if "const" in field]
    yield f"{heading} `{path}`" + "".join(f", `{kind}`" for kind in kinds) + "\n"
    if "description" in form:
        yield f"{form['description']}\n"
    required = form.get("required", ())
    yield "| key | permitted | default | meaning |\n|---|---|---|---|"
    for key, field in fields.items():
        yield _row(
            f"`{key}`",
            _permitted(field, _unit(key), definitions),
            _default(field, required=key in required),
            description(field, definitions),
        )
    yield ""
    for key, field in fields.items():
        for inner_path, inner in _groups_within(f"{path}.{key}", field, definitions):
            yield from _group("###", inner_path, inner, definitions)


def _groups_within(path: str, field: Schema, definitions: Schema) -> Iterator[tuple[str, Schema]]:
    for form in branches(field, definitions):
        if "properties" in form:
            yield path, form
        elif entries := entries_of(form):
            inner = f"{path}[]" if form["type"] == "array" else f"{path}.NAME"
            yield from _groups_within(inner, entries, definitions)


def _permitted(field: Schema, unit: str, definitions: Schema) -> str:
    """What a key may be, in words."""
    forms = [form for form in branches(field, definitions) if form.get("type") != "null"]
    described = [_form(form, unit, definitions) for form in forms]
    return " or ".join(dict.fromkeys(described))


def _form(form: Schema, unit: str, definitions: Schema) -> str:
    if choices := form.get("enum") or ([form["const"]] if "const" in form else []):
        return ", ".join(f"`{choice}`" for choice in choices)
    if entries := entries_of(form):
        kind = _words("list", _bounds(form), "of:") if form["type"] == "array" else "names, each:"
        return f"{kind} {_permitted(entries, unit, definitions)}"
    match form.get("type"):
        case "number" | "integer" as kind:
            number = "whole number" if kind == "integer" else "number"
            return _words(number, _bounds(form), unit)
        case "boolean":
            return "`true`, `false`"
        case "object":
            return "group of keys"
    return _text(form)


def _text(form: Schema) -> str:
    if "pattern" in form:
        return f"text like `{form['pattern']}`"
    return "path" if form.get("format") == "path" else "text"


def _bounds(form: Schema) -> str:
    signs = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
        "minItems": "≥",
        "maxItems": "≤",
    }
    if "exclusiveMinimum" in form:
        del signs["minimum"]  # a type's own bound, which the field narrows
    return ", ".join(f"{sign} {form[name]:.15g}" for name, sign in signs.items() if name in form)


def _default(field: Schema, *, required: bool) -> str:
    if required:
        return "required"
    if "default" not in field:  # made by a factory: a group's own defaults, or nothing
        return "-"
    default = field["default"]
    return "none" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"


def _unit(key: str) -> str:
    return next((unit for suffix, unit in UNITS.items() if key.endswith(suffix)), "")


def _words(*words: str) -> str:
    return " ".join(filter(None, words))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
