"""The one place that keeps the plant's settings, a section a file and a section a message."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, cast

from bus.message import Answer, Message
from bus.site import SECTIONS, ChangeSettings, Plant, Section
from bus.system import Severity
from runtime.actor import Actor, Bus, RefusedError, on
from runtime.clock import Clock
from runtime.store import Store, StoreError
from services.site.model import (
    Kept,
    changed,
    differing_fields,
    from_stored,
    not_yet_stored,
    refuse_foreign,
)

SEED = "site.yaml"
"""Who set what nobody has changed."""

DAMAGED = "settings-damaged"
UNSTORED = "settings-not-stored"
_REMEDIES = {
    DAMAGED: "change or confirm these settings",
    UNSTORED: "the next change or start stores them",
}
"""What is to be done, by the fault's code."""


class SiteService(Actor):
    """Keeps the settings; each change is on the disk before anybody hears of it.

    The handler itself writes to the disk and waits for it: this process has nothing else to do.
    """

    name = "site"
    publishes: ClassVar[tuple[type[Message], ...]] = tuple(SECTIONS.values())

    def __init__(self, bus: Bus, clock: Clock, seed: Mapping[str, Section], folder: Path) -> None:
        """Args: seed: each section as site.yaml has it. folder: where the settings are stored."""
        super().__init__(bus, clock)
        self._seed = seed
        self._stores = {section: Store(folder, section) for section in SECTIONS}
        self._kept: dict[str, Kept] = {}
        self._troubles: dict[str, tuple[str, str]] = {}
        """What is wrong with a section: the fault's code and a sentence."""

    async def start(self) -> None:
        """Recall every section, or begin with the one of site.yaml, and tell everyone."""
        for section in SECTIONS:
            self._kept[section] = self._recall(section)
            await self.publish(self._kept[section])
        await self._report_troubles()

    @on(ChangeSettings)
    async def change_settings(self, command: ChangeSettings) -> Answer:
        """Change some fields of a section, all of them or none."""
        section = command.section
        refuse_foreign(section, cast("Plant", self._kept["plant"]).settings.model)
        before = self._kept[section]
        if command.expected_version not in {None, before.version}:
            raise RefusedError(
                f"{section} has changed meanwhile: it is at version {before.version},"
                f" not {command.expected_version}"
            )
        settings = changed(before.settings, command.changes)
        if settings == before.settings and section not in self._troubles:
            return Answer(accepted=True, result={"version": before.version})
        wanted = not_yet_stored(section, settings, self.clock.now(), command.by)
        try:
            stored = self._store(section, wanted)
        except StoreError as error:
            raise RefusedError(str(error)) from error
        self._kept[section] = stored
        self.log.info(
            "settings_changed",
            section=section,
            version=stored.version,
            fields=differing_fields(settings, before.settings),
            by=command.by,
        )
        await self.publish(stored)
        self._troubles.pop(section, None)
        await self._report_troubles()
        return Answer(accepted=True, result={"version": stored.version})

    def _recall(self, section: str) -> Kept:
        """What is stored; what site.yaml says only where nothing is."""
        seed = not_yet_stored(section, self._seed[section], self.clock.now(), SEED)
        try:
            loaded = self._stores[section].load(partial(from_stored, section))
        except StoreError as error:
            self._troubles[section] = DAMAGED, f"{section}: {error}; what {SEED} says holds"
            return seed
        damage = f"{section}: {', '.join(map(str, loaded.damaged))}"
        if loaded.content is not None:
            stored = loaded.content.model_copy(update={"version": loaded.number})
            if loaded.damaged:
                holds = f"copy {stored.version} of {stored.changed_at:%Y-%m-%d %H:%M} UTC holds"
                self._troubles[section] = DAMAGED, f"{damage}; {holds}"
            if fields := differing_fields(stored.settings, seed.settings):
                self.log.info("stored_differs_from_site_yaml", section=section, fields=fields)
            return stored
        if loaded.damaged:
            self._troubles[section] = DAMAGED, f"{damage}; what {SEED} says holds"
            return seed
        try:
            return self._store(section, seed)
        except StoreError as error:
            self._troubles[section] = UNSTORED, f"{error}; what {SEED} says holds"
            return seed

    def _store(self, section: str, wanted: Kept) -> Kept:
        content = wanted.model_dump(mode="json", exclude={"version"})
        return wanted.model_copy(update={"version": self._stores[section].save(content)})

    async def _report_troubles(self) -> None:
        for code, remedy in _REMEDIES.items():
            sentences = [text for which, text in self._troubles.values() if which == code]
            if sentences:
                text = f"{'. '.join(sentences)}: {remedy}"
                await self.raise_fault(code, Severity.MAJOR, text)
            else:
                await self.clear_fault(code)
