"""The processes of the house: the one list that `hemma` starts, checks and documents from."""

import importlib
from functools import cache

from pydantic import BaseModel

from runtime.actor import Actor
from runtime.process import Service

NAMES = ("site", "metering", "inverters", "policy")
"""In the order in which they are started; any order works."""


@cache
def service(name: str) -> Service:
    """One process as it can be started.

    Raises:
        KeyError: There is no such process.
    """
    if name not in NAMES:
        raise KeyError(f"no service {name!r}; there are {', '.join(NAMES)}")
    found = importlib.import_module(f"services.{name}.__main__").SERVICE
    if not isinstance(found, Service):
        raise TypeError(f"services.{name}.__main__.SERVICE is no Service")
    return found


@cache
def actor_class(name: str) -> type[Actor]:
    """The actor of one process, for what it declares."""
    module = importlib.import_module(f"services.{name}.service")
    classes = [
        member
        for member in vars(module).values()
        if isinstance(member, type)
        and issubclass(member, Actor)
        and member.__dict__.get("name") == name
    ]
    if len(classes) != 1:
        raise TypeError(f"services.{name}.service defines {len(classes)} actors of that name")
    return classes[0]


def sections() -> dict[str, type[BaseModel]]:
    """Every section of site.yaml with its model."""
    return {key: model for name in NAMES for key, model in service(name).sections.items()}
