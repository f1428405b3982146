"""pydantic's errors as sentences for the person who wrote the input: what it is, what it may be."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]
"""Keys and list positions from the outermost inwards."""

_SENTENCES = {
    "greater_than": "{shown} is too small: it must be above {gt}",
    "greater_than_equal": "{shown} is too small: at least {ge}",
    "less_than": "{shown} is too large: it must be below {lt}",
    "less_than_equal": "{shown} is too large: at most {le}",
    "multiple_of": "{shown} is not a multiple of {multiple_of}",
    "finite_number": "{shown} is not a finite number",
    "float_type": "{shown} is not a number",
    "float_parsing": "{shown} is not a number",
    "int_type": "{shown} is not a whole number",
    "int_parsing": "{shown} is not a whole number",
    "int_from_float": "{shown} is not a whole number",
    "bool_type": "{shown} is neither true nor false",
    "bool_parsing": "{shown} is neither true nor false",
    "string_type": "{shown} is not a text; a number as a text stands in quotes",
    "string_pattern_mismatch": "{shown} does not fit the pattern {pattern}",
    "string_too_short": "{shown} is too short: at least {min_length} characters",
    "string_too_long": "{shown} is too long: at most {max_length} characters",
    "too_short": "{actual_length} entries are too few: at least {min_length}",
    "too_long": "{actual_length} entries are too many: at most {max_length}",
    "model_type": "{shown} is not a group of keys",
    "dict_type": "{shown} is not a group of keys",
    "list_type": "{shown} is not a list",
    "tuple_type": "{shown} is not a list",
    "path_type": "{shown} is not a path",
    "value_error": "{error}",
}
"""By pydantic's name of the error. What is not listed is said in pydantic's own words."""

_SHOWN_CHARACTERS = 60
_LISTED_KEYS = 15


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong with an input."""

    path: Path
    """Where; that of a missing key ends in the key."""
    text: str

    def __str__(self) -> str:
        """The place and the sentence."""
        return f"{key_path(self.path)}: {self.text}" if self.path else self.text


def explain(model: type[BaseModel], entries: object, error: ValidationError) -> list[Complaint]:
    """Turn the errors of `model.model_validate(entries)` into sentences, one a place."""
    schema = model.model_json_schema()
    texts: dict[Path, list[str]] = {}
    suggested: set[Path] = set()
    missing: list[tuple[Path, str]] = []
    for fault in error.errors(include_url=False):
        if fault["type"] == "too_short" and len(fault["input"]) >= fault["ctx"]["min_length"]:
            continue  # pydantic counts good entries only; what is wrong with the others is said
        path = _path_in(entries, fault["loc"], ends_in_key=fault["type"] == "missing")
        if fault["type"] == "missing":
            missing.append((path, _missing_text(schema, entries, path)))
            continue
        if fault["type"] == "extra_forbidden":
            keys = _fields_at(schema, entries, path[:-1])
            known = close_match(str(path[-1]), keys)
            if known is not None:
                suggested.add((*path[:-1], known))
            text = unknown_key(known, keys)
        elif fault["type"] in {"union_tag_invalid", "union_tag_not_found"}:
            path, text = _wrong_tag(path, fault)
        else:
            text = _sentence(fault)
        if text not in texts.setdefault(path, []):
            texts[path].append(text)
    for path, text in missing:
        if path not in suggested:  # it is there, misspelt, and that has been said
            texts[path] = [text]
    return [Complaint(path, " and ".join(parts)) for path, parts in texts.items()]


def key_path(path: Path) -> str:
    """A path as it is read: `inverters.units[0].baud_rate`."""
    written = ""
    for step in path:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            name = step if step.isprintable() and step else repr(step)
            written += f".{name}" if written else name
    return written


def unknown_key(known: str | None, keys: Iterable[str]) -> str:
    """What is said to a key that nobody reads."""
    if known is not None:
        return f"unknown key; did you mean `{known}`?"
    listed = list(keys)
    more = ", ..." if len(listed) > _LISTED_KEYS else ""
    return f"unknown key; known here: {', '.join(listed[:_LISTED_KEYS])}{more}"


def close_match(word: str, words: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The word that was probably meant."""
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)), None)


def branches(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The forms that a JSON Schema permits, with references and unions followed."""
    if "$ref" in schema:
        yield from branches(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    elif forms := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        for form in forms:
            yield from branches(form, definitions)
    else:
        yield dict(schema)


def entries_of(form: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of a list's entries, or of what stands behind keys that are free to choose."""
    patterns = list(form.get("patternProperties", {}).values())  # keys of a type with a pattern
    for entries in (form.get("items"), form.get("additionalProperties"), *patterns):
        if isinstance(entries, dict):
            return entries
    return {"anyOf": form["prefixItems"]} if "prefixItems" in form else None


def description(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A field's text in one line; that of its model where it has none of its own."""
    described = [field, *branches(field, definitions)]
    texts = (form["description"] for form in described if "description" in form)
    return " ".join(next(texts, "").split())


def _path_in(entries: object, location: Sequence[str | int], *, ends_in_key: bool) -> Path:
    """Drop from pydantic's location what is not in the input: names of a union's branches."""
    path: list[str | int] = []
    here = entries
    for position, step in enumerate(location):
        if _holds(here, step):
            here = here[step]  # type: ignore[index]  # it holds it
            path.append(step)
        elif ends_in_key and position == len(location) - 1:
            path.append(step)
    return tuple(path)


def _holds(entries: object, step: str | int) -> bool:
    if isinstance(step, int) and isinstance(entries, list | tuple):
        return step < len(entries)
    return isinstance(entries, Mapping) and step in entries


def _fields_at(schema: dict[str, Any], entries: object, path: Path) -> dict[str, dict[str, Any]]:
    """The keys that the model has at a place of the input, each with its schema."""
    definitions = schema.get("$defs", {})
    here, forms = entries, _fitting(schema, definitions, entries)
    for step in path:
        here = here[step]  # type: ignore[index]  # the path was found in these very entries
        forms = [
            form
            for outer in forms
            for inner in (outer.get("properties", {}).get(step) or entries_of(outer),)
            if inner is not None
            for form in _fitting(inner, definitions, here)
        ]
    return {key: field for form in forms for key, field in form.get("properties", {}).items()}


def _fitting(
    schema: dict[str, Any], definitions: Mapping[str, Any], here: object
) -> list[dict[str, Any]]:
    """The forms that are not ruled out by a fixed key, such as `kind: modbus`."""
    entries = here if isinstance(here, Mapping) else {}
    return [
        form
        for form in branches(schema, definitions)
        if all(
            "const" not in field or entries.get(key, field["const"]) == field["const"]
            for key, field in form.get("properties", {}).items()
        )
    ]


def _missing_text(schema: dict[str, Any], entries: object, path: Path) -> str:
    field = _fields_at(schema, entries, path[:-1]).get(str(path[-1]), {})
    text = description(field, schema.get("$defs", {})).removesuffix(".")
    return f"is missing: {text}" if text else "is missing"


def _wrong_tag(path: Path, fault: Mapping[str, Any]) -> tuple[Path, str]:
    context = fault["ctx"]
    path = (*path, context["discriminator"].strip("'"))
    if fault["type"] == "union_tag_not_found":
        return path, "is missing: it says which kind of entry this is"
    expected = context["expected_tags"].replace("'", "")
    return path, f"{_shown(context['tag'])} is not one of {expected}"


def _sentence(fault: Mapping[str, Any]) -> str:
    shown = _shown(fault["input"])
    context = {name: _number(entry) for name, entry in fault.get("ctx", {}).items()}
    if fault["type"] in {"literal_error", "enum"}:
        expected = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"{shown} is not one of {expected}"
    if fault["type"] in _SENTENCES:
        return _SENTENCES[fault["type"]].format(shown=shown, **context)
    return f"{shown}: {fault['msg']}"


def _number(entry: object) -> str:
    if isinstance(entry, float) and entry.is_integer():
        return str(int(entry))
    return str(entry)


def _shown(entry: object) -> str:
    if entry is None:
        return "an empty entry"
    if isinstance(entry, bool):
        return "true" if entry else "false"
    if isinstance(entry, Mapping):
        return "a group of keys"
    if isinstance(entry, list | tuple):
        return "a list"
    written = repr(entry)
    if len(written) > _SHOWN_CHARACTERS:
        return f"{written[:_SHOWN_CHARACTERS]}..."
    return written
