"""Settings and identity: what `site` keeps for everyone, a section a message."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from bus.message import Command, Message, Part, Topic, command, state
from bus.units import Count, CurrentA, Percent, PositivePowerW, PowerW, Slug, SocPct, Text, UtcTime


class Model(StrEnum):
    """The two models of the reference product."""

    A01 = "A01"
    """PV and ESS only."""
    A02 = "A02"
    """All: chargers, heat pump and switches too."""


class FeedInMode(StrEnum):
    """How feed-in at the grid connection point is limited."""

    UNLIMITED = "unlimited"
    ZERO = "zero"
    WATTS = "watts"
    PERCENT = "percent"
    """Of the plant's rated PV power."""


class LimitBasis(StrEnum):
    """What a feed-in limit is held against."""

    TOTAL = "total"
    EACH_PHASE = "each-phase"
    """Each phase may export at most its share: the limit divided by the number of phases."""


class EssMode(StrEnum):
    """What the batteries are for."""

    SELF_CONSUMPTION = "self-consumption"
    """Hold the grid exchange at zero as far as power and SOC allow."""
    IDLE = "idle"
    """Neither charge nor discharge."""


class Section(Part):
    """A section of the settings. Who takes one from a person validates it with `extra="forbid"`."""


class PlantSettings(Section):
    """What the plant is."""

    name: Text = "Hemma"
    """What its people call it."""
    serial: Slug
    """Identity of the gateway; part of host name and access point."""
    model: Model = Model.A02
    """A01: PV and ESS only; A02: all devices."""
    main_fuse_a: Annotated[CurrentA, Field(gt=0, le=400)] | None = None
    """Rating of the fuse at the grid connection point, each phase; None: not stated."""
    rated_pv_power_w: Annotated[PositivePowerW, Field(gt=0)] | None = None
    """What a limit in per cent refers to; None: the sum of the inverters' ratings."""


class FeedInSettings(Section):
    """The grid operator's limit on feed-in."""

    mode: FeedInMode = FeedInMode.ZERO
    """`unlimited`, `zero`, `watts` (with limit_w) or `percent` (with limit_pct)."""
    limit_w: PositivePowerW | None = None
    """Highest export in W; with mode `watts` only."""
    limit_pct: Percent | None = None
    """Highest export in % of the rated PV power; with mode `percent` only."""
    basis: LimitBasis = LimitBasis.TOTAL
    """Whether the limit holds for the sum or for each phase."""
    failsafe_w: PositivePowerW | None = None
    """AC power that all inverters together may feed when the meter is silent; None: the limit
    itself, which is safe because a house never produces by itself."""

    @model_validator(mode="after")
    def _limit_fits_mode(self) -> Self:
        for mode, name in ((FeedInMode.WATTS, "limit_w"), (FeedInMode.PERCENT, "limit_pct")):
            if (self.mode is mode) != (getattr(self, name) is not None):
                needed = "is required with" if self.mode is mode else "has a meaning only with"
                raise ValueError(f"{name} {needed} mode: {mode}")
        return self


class EssSettings(Section):
    """What the batteries shall do."""

    mode: EssMode = EssMode.SELF_CONSUMPTION
    """`self-consumption` or `idle`."""
    target_grid_power_w: PowerW = 0.0
    """Where self-consumption holds the grid power; > 0 keeps a little import."""
    reserve_soc_pct: SocPct = 5.0
    """The batteries are not discharged below this."""
    full_soc_pct: Annotated[SocPct, Field(gt=0)] = 100.0
    """The batteries are not charged above this."""

    @model_validator(mode="after")
    def _room_between(self) -> Self:
        if self.reserve_soc_pct >= self.full_soc_pct:
            raise ValueError("reserve_soc_pct must be below full_soc_pct")
        return self


class SettingsMessage(Message):
    """What every section's message carries besides the section."""

    version: Count
    """Counts up by one a change."""
    changed_at: UtcTime
    changed_by: Text
    """Who asked for it."""


class Plant(SettingsMessage):
    """The plant's identity, as stored."""

    topic: ClassVar[Topic] = state("site/settings/plant")

    settings: PlantSettings


class FeedIn(SettingsMessage):
    """The feed-in limit, as stored."""

    topic: ClassVar[Topic] = state("site/settings/feed-in")

    settings: FeedInSettings


class Ess(SettingsMessage):
    """The batteries' task, as stored."""

    topic: ClassVar[Topic] = state("site/settings/ess")

    settings: EssSettings


SECTIONS: dict[str, type[Plant | FeedIn | Ess]] = {"plant": Plant, "feed-in": FeedIn, "ess": Ess}
"""Every section by name; the message's `settings` field tells the section's model."""


class ChangeSettings(Command):
    """Change some fields of one section. Refused as a whole when one of them is wrong."""

    topic: ClassVar[Topic] = command("site/cmd/change-settings")

    section: Slug
    changes: dict[str, Any]
    """New values by field name; fields not named keep theirs."""
    expected_version: Count | None = None
    """Refuse when somebody else was faster; None: do not ask."""
    by: Text
    """Who asks."""
