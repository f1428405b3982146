"""`site.yaml` to models: all that is wrong is reported at once, with file, line, key and remedy.

Read by YAML 1.2's core schema, not PyYAML's 1.1, where `no` is false and `12:30` is 750.
Tags and aliases are refused: a house needs neither, and both are ways to hurt a reader.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from runtime import explain

MAX_FILE_BYTES = 256 * 1024
"""Far more than a house; PyYAML takes about a second for it."""

MAX_DEPTH = 50
"""Groups and lists within each other."""


class ConfigSection(BaseModel):
    """Base of all sections of site.yaml: unknown keys are refused, each field has its text."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class BrokerConfig(ConfigSection):
    """Where the processes meet: the MQTT broker of this gateway."""

    host: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=253)] = "127.0.0.1"
    """Name or address of the broker."""
    port: Annotated[int, Field(ge=1, le=65535, strict=True)] = 1883
    """Its plain MQTT port; it listens on loopback or inside the compose network only."""
    credentials_dir: Path = Path("/var/lib/hemma/credentials")
    """Folder with `<process>.password` for each process, made at the broker's first start."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong, where it stands, and what would be right."""

    file: str
    line: int | None
    """Counted from 1; None: the file as a whole."""
    key: str
    """Path of the key, as in `inverters.units[0].baud_rate`; empty: no key in particular."""
    text: str

    def __str__(self) -> str:
        """A line that editors can jump to."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place} {self.key}: {self.text}" if self.key else f"{place} {self.text}"


class ConfigError(Exception):
    """A configuration that cannot be used, with everything that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Args: problems: in the order of the file."""
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def load(
    path: Path,
    sections: Mapping[str, type[BaseModel]],
    *,
    ignore_other_sections: frozenset[str] | bool = False,
) -> dict[str, BaseModel]:
    """Read the named sections of a file.

    A section that is absent or empty gets its defaults, if all its fields have one.

    Args:
        path: The file.
        sections: Models by the name of their section.
        ignore_other_sections: Sections that others read: their names, or True for any.

    Raises:
        ConfigError: With all problems; nothing is returned in parts.
    """
    document = _Document(str(path))
    document.read(path)
    loaded: dict[str, BaseModel] = {}
    for name, model in sections.items():
        entries = document.entries.get(name)
        entries = {} if entries is None and (name,) not in document.refused else entries
        try:
            loaded[name] = model.model_validate(entries, extra="forbid")
        except ValidationError as error:
            document.add_complaints(name, explain.explain(model, entries, error))
    document.add_unknown_sections(sections, others=ignore_other_sections)
    if document.problems:
        raise ConfigError(tuple(sorted(set(document.problems), key=_in_file_order)))
    return loaded


def _in_file_order(problem: Problem) -> tuple[int, str]:
    return problem.line or 0, problem.key


@dataclass
class _Document:
    """A file as plain dicts and lists, the line of each entry, and what is wrong so far."""

    file: str
    entries: dict[str, object] = field(default_factory=dict)
    lines: dict[explain.Path, int] = field(default_factory=lambda: {(): 1})
    refused: set[explain.Path] = field(default_factory=set)
    """Entries that could not be read; what the models say of them is of no use."""
    problems: list[Problem] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """Fill in from the file; ConfigError when there is nothing to go on with."""
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise self._end(None, f"cannot be read: {error.strerror}") from error
        if len(content) > MAX_FILE_BYTES:
            raise self._end(None, f"is longer than {MAX_FILE_BYTES} bytes")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            wrong = content[error.start]
            raise self._end(line, f"is not UTF-8: byte 0x{wrong:02x} in this line") from error
        root = self._compose(text)
        entries = {} if root is None else self._plain(root, ())
        if entries is None or isinstance(entries, dict):
            self.entries = entries or {}
        else:
            raise self._end(1, "is not a list of sections: lines such as `broker:` are expected")

    def add_complaints(self, section: str, complaints: list[explain.Complaint]) -> None:
        """Take over what a section's model says, save of entries that were refused already."""
        for complaint in complaints:
            path = (section, *complaint.path)
            if not any(_one_within_the_other(path, refused) for refused in self.refused):
                self._add(path, complaint.text)

    def add_unknown_sections(
        self, sections: Mapping[str, type[BaseModel]], *, others: frozenset[str] | bool
    ) -> None:
        """Complain of sections that nobody reads."""
        known = [*sections, *(sorted(others) if isinstance(others, frozenset) else ())]
        for name in self.entries:
            if name in known:
                continue
            if others is True:
                # Somebody else's, unless it looks like one of ours, misspelt: defaults in its
                # place would be a silent surprise.
                absent = [own for own in sections if own not in self.entries]
                meant = explain.close_match(name, absent, cutoff=0.8)
                if meant is None:
                    continue
            else:
                meant = explain.close_match(name, known)
            self._add((name,), explain.unknown_key(meant, known))

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            reasons = [reason for reason in (error.context, error.problem) if reason]
            line = mark.line + 1 if mark else None
            raise self._end(line, f"is not YAML: {', '.join(reasons)}") from error
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise self._end(line, f"is not YAML: {error.reason}") from error
        except (ValueError, OverflowError) as error:  # chr() in PyYAML, at "\UFFFFFFFF"
            raise self._end(None, "is not YAML: an escape beyond Unicode") from error
        return root

    def _plain(self, node: yaml.Node, path: explain.Path) -> object:
        """The node as dicts, lists and scalars; notes each entry's line."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if node.tag == _REFUSED:
            self._refuse(path, "aliases (*) and tags (!) are not read here; write the entry out")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._group(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(entry, (*path, index)) for index, entry in enumerate(node.value)]
        return _scalar(node)

    def _group(self, node: yaml.MappingNode, path: explain.Path) -> dict[str, object]:
        group: dict[str, object] = {}
        for key, entry in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag == _REFUSED:
                self._refuse(path, "a key must be a plain word", line)
                continue
            inner = (*path, key.value)
            if key.value in group:
                self._add(inner, f"is given twice, first in line {self.lines[inner]}", line)
                continue
            self.lines[inner] = line
            group[key.value] = self._plain(entry, inner)
        return group

    def _refuse(self, path: explain.Path, text: str, line: int | None = None) -> None:
        self.refused.add(path)
        self._add(path, text, line)

    def _add(self, path: explain.Path, text: str, line: int | None = None) -> None:
        place = path
        while line is None:  # what is missing is reported at the line of what it is missing in
            line = self.lines.get(place)
            place = place[:-1]
        self.problems.append(Problem(self.file, line, explain.key_path(path), text))

    def _end(self, line: int | None, text: str) -> ConfigError:
        return ConfigError((Problem(self.file, line, "", text),))


def _one_within_the_other(one: explain.Path, other: explain.Path) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))


_REFUSED = "refused"
_CORE = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Composes the node tree; constructs nothing."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  declared so by PyYAML; filled below
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node, refused if it is an alias or has a tag."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            mark = cast("yaml.Mark", event.start_mark)
            return yaml.ScalarNode(_REFUSED, event.anchor, mark, mark)
        if self.depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"nested more than {MAX_DEPTH} deep", event.start_mark
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and event.tag is not None:
            node.tag = _REFUSED
        return node


# YAML 1.2.2, 10.3.2 (tag resolution of the core schema), without .inf and .nan.
# Digits of whole numbers are bounded, since Python refuses to read thousands; longer are floats.
for _kind, _pattern in (
    ("null", r"(~|null|Null|NULL|)\Z"),
    ("bool", r"(true|True|TRUE|false|False|FALSE)\Z"),
    ("int", r"([-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30})\Z"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z"),
):
    _Loader.add_implicit_resolver(_CORE + _kind, re.compile(_pattern), None)


def _scalar(node: yaml.Node) -> object:
    text: str = node.value
    match node.tag.removeprefix(_CORE):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text, 0) if text[:2] in {"0x", "0o"} else int(text)
        case "float":
            return float(text)
        case _:
            return text
