"""What `site` reads of site.yaml: the settings that a new gateway starts with."""

from collections.abc import Mapping

from pydantic import Field

from bus.site import EssSettings, FeedInSettings, PlantSettings, Section
from runtime.config import ConfigSection


class InitialSettings(ConfigSection):
    """Settings of a gateway that has none stored yet.

    Later changes are made on the running gateway, and what is stored there counts.
    """

    feed_in: FeedInSettings = Field(default_factory=FeedInSettings, alias="feed-in")
    """The grid operator's limit on feed-in."""
    ess: EssSettings = Field(default_factory=EssSettings)
    """What the batteries shall do."""


def seed(plant: PlantSettings, initial: InitialSettings) -> Mapping[str, Section]:
    """The settings of site.yaml by their section on the bus."""
    return {"plant": plant, "feed-in": initial.feed_in, "ess": initial.ess}
