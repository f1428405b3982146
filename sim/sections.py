"""YAML into frozen dataclasses, with every mistake found at once and its line."""

import types
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

Section = TypeVar("Section")


class ScenarioError(Exception):
    """What is wrong with a scenario, one line each: `file:line: key: what would be right`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def within(low: float, high: float, default: Any = MISSING) -> Any:  # noqa: ANN401 - as dataclasses.field
    """A number with bounds; required when there is no default."""
    metadata = {"low": low, "high": high}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(slots=True)
class Reader:
    """Builds sections from the nodes of one document and collects what is wrong."""

    source: str
    problems: list[str]

    def refuse(self, node: yaml.Node, key: str, reason: str) -> None:
        """Note one problem."""
        self.problems.append(f"{self.source}:{node.start_mark.line + 1}: {key}: {reason}")

    def section(self, kind: type[Section], node: yaml.Node, path: str) -> Section | None:
        """A dataclass from a mapping; None when something in it is wrong."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, path or "scenario", "must be a mapping of keys")
            return None
        known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
        hints = get_type_hints(kind)
        before = len(self.problems)
        given: dict[str, Any] = {}
        for key_node, content in node.value:
            key = str(key_node.value)
            full = f"{path}.{key}".lstrip(".")
            if key not in known:
                near = get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self.refuse(key_node, full, f"unknown key; {hint}")
            elif key in given:
                self.refuse(key_node, full, "given twice")
            else:
                given[key] = self._content(hints[key], content, full, known[key])
        for key, each in known.items():
            if key not in given and each.default is MISSING and each.default_factory is MISSING:
                self.refuse(node, f"{path}.{key}".lstrip("."), "is missing")
        return None if len(self.problems) > before else kind(**given)

    def _content(self, kind: Any, node: yaml.Node, path: str, each: Field[Any]) -> Any:  # noqa: ANN401 - a type and what it says
        origin, inner = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
                return None
            return self._content(next(t for t in inner if t is not type(None)), node, path, each)
        if origin is tuple:
            if not isinstance(node, yaml.SequenceNode):
                self.refuse(node, path, "must be a list")
                return ()
            return tuple(
                self._content(inner[0], entry, f"{path}[{i}]", each)
                for i, entry in enumerate(node.value)
            )
        if is_dataclass(kind):
            return self.section(kind, node, path)  # type: ignore[arg-type]
        return self._scalar(kind, node, path, each)

    def _scalar(self, kind: Any, node: yaml.Node, path: str, each: Field[Any]) -> Any:  # noqa: ANN401 - as above
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(node, path, "must be one number or text")
            return None
        if kind is str:
            return str(node.value)
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            if node.value not in choices:
                self.refuse(node, path, f"must be one of {', '.join(choices)}; is {node.value}")
            return node.value
        try:
            content = SafeConstructor().construct_document(node)
        except (ConstructorError, ValueError):
            content = None
        wanted = {bool: (bool,), int: (int,), float: (int, float)}[kind]
        if not isinstance(content, wanted) or (isinstance(content, bool) and kind is not bool):
            name = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
            self.refuse(node, path, f"must be {name}; is {node.value}")
            return None
        if "low" in each.metadata:
            low, high = each.metadata["low"], each.metadata["high"]
            if not low <= content <= high:
                self.refuse(node, path, f"must be {low:g} to {high:g}; is {content}")
        return content
