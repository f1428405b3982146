"""Rules of the settings: what may be changed, and what a stored copy must be. No I/O here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bus.site import SECTIONS, Ess, FeedIn, Model, Plant, Section
from runtime.actor import RefusedError
from runtime.explain import explain

Kept = Plant | FeedIn | Ess
"""A section as it is kept: its settings, version, and who changed it when."""

NOT_STORED = 0
"""Version of settings that hold as site.yaml has them, without being stored."""

SECTIONS_OF: Mapping[Model, frozenset[str]] = {
    Model.A01: frozenset({"plant", "feed-in", "ess"}),
    Model.A02: frozenset(SECTIONS),
}
"""What each model has settings for: an A01 has PV and ESS only, an A02 has all devices."""

Validated = TypeVar("Validated", bound=BaseModel)


def not_yet_stored(section: str, settings: Section, changed_at: datetime, changed_by: str) -> Kept:
    """A section as it shall be kept; its version comes from the store."""
    fields = {"settings": settings, "changed_at": changed_at, "changed_by": changed_by}
    return SECTIONS[section].model_validate({**fields, "version": NOT_STORED})


def from_stored(section: str, content: object) -> Kept:
    """Read a stored copy back; its version comes from the store.

    Raises:
        ValueError: It is not this section as this version of the program knows it.
    """
    if not isinstance(content, dict):
        raise ValueError("does not hold settings")  # noqa: TRY004  a damaged copy, no mistake of ours
    return _validated(SECTIONS[section], {**content, "version": NOT_STORED})


def changed(settings: Section, changes: Mapping[str, Any]) -> Section:
    """The settings with some fields changed, checked as a whole.

    Raises:
        RefusedError: It says all that is wrong.
    """
    try:
        return _validated(type(settings), {**settings.model_dump(), **changes})
    except ValueError as error:
        raise RefusedError(str(error)) from error


def refuse_foreign(section: str, model: Model) -> None:
    """Refuse a section that does not exist, or that this model has not.

    Raises:
        RefusedError: It says which there are.
    """
    present = SECTIONS_OF[model]
    if section not in present:
        raise RefusedError(f"{model} has no settings {section}, only {', '.join(sorted(present))}")


def differing_fields(one: Section, other: Section) -> list[str]:
    """Names of the fields in which two states of one section differ."""
    theirs = other.model_dump()
    return [name for name, content in one.model_dump().items() if theirs[name] != content]


def _validated(model: type[Validated], entries: Mapping[str, Any]) -> Validated:
    try:
        return model.model_validate(entries, extra="forbid")
    except ValidationError as error:
        reasons = map(str, explain(model, entries, error))
        raise ValueError("; ".join(reasons)) from error
