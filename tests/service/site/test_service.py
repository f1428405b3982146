from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bus.message import Answer, Message
from bus.site import (
    SECTIONS,
    ChangeSettings,
    Ess,
    EssMode,
    FeedIn,
    FeedInMode,
    FeedInSettings,
    Model,
    Plant,
    PlantSettings,
    Section,
)
from bus.system import Faults
from runtime.clock import FakeClock
from runtime.memory import MemoryBus, running
from services.site.config import InitialSettings, seed
from services.site.service import SiteService

SETTINGS = tuple(SECTIONS.values())


def site_yaml(limit_w: float = 3000.0, model: Model = Model.A02) -> Mapping[str, Section]:
    feed_in = FeedInSettings(mode=FeedInMode.WATTS, limit_w=limit_w)
    initial = InitialSettings.model_validate({"feed-in": feed_in})
    return seed(PlantSettings(serial="hemma-1", model=model), initial)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


def site(
    bus: MemoryBus, clock: FakeClock, folder: Path, beginning: Mapping[str, Section] | None = None
) -> SiteService:
    return SiteService(bus, clock, beginning or site_yaml(), folder)


def limit(limit_w: object, section: str = "feed-in", **more: Any) -> ChangeSettings:  # noqa: ANN401  other fields
    return ChangeSettings(section=section, changes={"limit_w": limit_w}, by="installer", **more)


def kept(bus: MemoryBus) -> list[Message]:
    return [message for message in bus.published if isinstance(message, SETTINGS)]


def faults(bus: MemoryBus) -> dict[str, str]:
    return {fault.code: fault.text for fault in bus.last(Faults).faults}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def fill_disk(folder: Path, section: str) -> None:
    """Let the next write to the section's store find no space left."""
    (folder / f".{section}.new").symlink_to("/dev/full")


def damage_all(folder: Path) -> None:
    for name in contents(folder):
        (folder / name).write_bytes(b"\0" * 100)


async def change(folder: Path, *commands: ChangeSettings) -> list[Answer]:
    """A life of the service, in which some commands arrive."""
    bus = MemoryBus()
    async with running(site(bus, FakeClock(), folder)):
        return [await bus.ask(command) for command in commands]


async def test_a_new_gateway_begins_with_site_yaml(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    async with running(site(bus, clock, tmp_path)):
        assert bus.last(Plant).settings.serial == "hemma-1"
        assert bus.last(FeedIn).settings.limit_w == 3000
        assert bus.last(Ess).settings.mode is EssMode.SELF_CONSUMPTION
        for message in (bus.last(Plant), bus.last(FeedIn), bus.last(Ess)):
            assert (message.version, message.changed_by) == (1, "site.yaml")
            assert message.changed_at == clock.now()
        assert faults(bus) == {}


async def test_a_change_is_stored_published_and_survives_a_restart(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    async with running(site(bus, clock, tmp_path)):
        await clock.advance(60)
        assert await bus.ask(limit(2000)) == Answer(accepted=True, result={"version": 2})
        changed = bus.last(FeedIn)
        assert (changed.settings.limit_w, changed.version) == (2000, 2)
        assert (changed.changed_at, changed.changed_by) == (clock.now(), "installer")

    after = MemoryBus()
    await clock.advance(3600)
    async with running(site(after, clock, tmp_path)):
        assert after.last(FeedIn) == changed
        assert len(kept(after)) == len(SECTIONS)


async def test_what_is_stored_counts_when_site_yaml_differs_and_the_log_says_so(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    await change(tmp_path)

    with capture_logs() as logged:
        async with running(site(bus, clock, tmp_path, site_yaml(limit_w=500.0, model=Model.A01))):
            assert bus.last(FeedIn).settings.limit_w == 3000

    assert [
        (entry["section"], entry["fields"])
        for entry in logged
        if entry["event"] == "stored_differs_from_site_yaml"
    ] == [("plant", ["model"]), ("feed-in", ["limit_w"])]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        pytest.param(
            limit(-5), "limit_w: -5 is too small: at least 0", id="a limit that cannot be"
        ),
        pytest.param(
            ChangeSettings(
                section="feed-in", changes={"mode": "percent", "limit_pct": 60}, by="installer"
            ),
            "limit_w has a meaning only with mode: watts",
            id="half of what belongs together",
        ),
        pytest.param(
            limit(2000, section="feedin"),
            "A02 has no settings feedin, only ess, feed-in, plant",
            id="no such section",
        ),
        pytest.param(
            limit(2000, expected_version=7),
            "feed-in has changed meanwhile: it is at version 1, not 7",
            id="somebody else was faster",
        ),
    ],
)
async def test_a_change_that_cannot_be_is_refused_with_a_reason_and_changes_nothing(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path, command: ChangeSettings, reason: str
) -> None:
    async with running(site(bus, clock, tmp_path)):
        said = kept(bus)
        files = contents(tmp_path)

        assert await bus.ask(command) == Answer(accepted=False, reason=reason)

        assert kept(bus) == said
        assert contents(tmp_path) == files
        # and what holds is still what the next change starts from
        assert (await bus.ask(limit(2500, expected_version=1))).result == {"version": 2}


async def test_asking_for_what_already_holds_is_accepted_and_changes_nothing(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    async with running(site(bus, clock, tmp_path)):
        said = kept(bus)
        assert await bus.ask(limit(3000)) == Answer(accepted=True, result={"version": 1})
        assert kept(bus) == said
    assert len(contents(tmp_path)) == len(SECTIONS)


async def test_a_full_disk_refuses_the_change_and_nothing_changes(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    async with running(site(bus, clock, tmp_path)):
        said = kept(bus)
        fill_disk(tmp_path, "feed-in")
        assert await bus.ask(limit(2000)) == Answer(
            accepted=False, reason="feed-in cannot be stored: No space left on device"
        )
        assert kept(bus) == said
        assert await bus.ask(limit(3000)) == Answer(accepted=True, result={"version": 1})

        # the failed write has been cleared away, and there is room again
        assert await bus.ask(limit(2000)) == Answer(accepted=True, result={"version": 2})

    assert [answer.result for answer in await change(tmp_path, limit(2000))] == [{"version": 2}]


async def test_a_damaged_file_falls_back_to_the_last_good_one_with_a_fault(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    await change(tmp_path, limit(2000), limit(1000))
    newest = tmp_path / "feed-in.3.json"
    newest.write_bytes(newest.read_bytes()[:40])

    async with running(site(bus, clock, tmp_path)):
        assert (bus.last(FeedIn).settings.limit_w, bus.last(FeedIn).version) == (2000, 2)
        assert faults(bus) == {
            "settings-damaged": "feed-in: copy 3 is cut short or garbled; copy 2 of 2026-06-21 "
            "10:00 UTC holds: change or confirm these settings"
        }

    again = MemoryBus()
    async with running(site(again, clock, tmp_path)):
        assert "settings-damaged" in faults(again)  # a restart alone heals nothing

        assert (await again.ask(limit(1000))).result == {"version": 4}  # never 3 again
        assert again.last(FeedIn).settings.limit_w == 1000
        assert faults(again) == {}

    healed = MemoryBus()
    async with running(site(healed, clock, tmp_path)):
        assert faults(healed) == {}


async def test_confirming_what_a_damaged_file_fell_back_to_clears_the_fault(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    await change(tmp_path, limit(2000))
    (tmp_path / "feed-in.2.json").write_bytes(b"")

    async with running(site(bus, clock, tmp_path)):
        assert "settings-damaged" in faults(bus)
        assert (await bus.ask(limit(3000))).result == {"version": 3}
        assert faults(bus) == {}
        assert bus.last(FeedIn).settings.limit_w == 3000


async def test_when_every_copy_is_damaged_site_yaml_holds_until_somebody_confirms(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    await change(tmp_path, limit(2000))
    damage_all(tmp_path)

    async with running(site(bus, clock, tmp_path)):
        assert (bus.last(FeedIn).settings.limit_w, bus.last(FeedIn).version) == (3000, 0)
        text = faults(bus)["settings-damaged"]
        assert "feed-in: copy 2 is cut short or garbled, copy 1 is cut short or garbled; " in text
        assert "plant: copy 1 is cut short or garbled; what site.yaml says holds. " in text

        assert (await bus.ask(limit(3000))).result == {"version": 3}
        assert "feed-in" not in faults(bus)["settings-damaged"]
        assert "plant" in faults(bus)["settings-damaged"]


async def test_a_gateway_whose_disk_is_full_at_its_first_start_runs_by_site_yaml(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    fill_disk(tmp_path, "ess")

    async with running(site(bus, clock, tmp_path)):
        assert (bus.last(Ess).version, bus.last(FeedIn).version) == (0, 1)
        assert faults(bus) == {
            "settings-not-stored": "ess cannot be stored: No space left on device; what site.yaml "
            "says holds: the next change or start stores them"
        }
        confirmed = ChangeSettings(section="ess", changes={}, by="user", expected_version=0)
        assert (await bus.ask(confirmed)).result == {"version": 1}
        assert faults(bus) == {}


async def test_a_folder_that_cannot_be_read_leaves_site_yaml_in_force(
    bus: MemoryBus, clock: FakeClock, tmp_path: Path
) -> None:
    (tmp_path / "settings").touch()

    async with running(site(bus, clock, tmp_path / "settings")):
        assert bus.last(FeedIn).settings.limit_w == 3000
        assert "Not a directory; what site.yaml says holds" in faults(bus)["settings-damaged"]
        answer = await bus.ask(limit(2000))
        assert not answer.accepted
        assert bus.last(FeedIn).settings.limit_w == 3000
