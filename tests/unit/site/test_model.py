from datetime import UTC, datetime
from typing import Any

import pytest

from bus.site import (
    SECTIONS,
    EssSettings,
    FeedInMode,
    FeedInSettings,
    Model,
    PlantSettings,
    Section,
)
from runtime.actor import RefusedError
from services.site.config import InitialSettings, seed
from services.site.model import (
    SECTIONS_OF,
    changed,
    differing_fields,
    from_stored,
    not_yet_stored,
    refuse_foreign,
)

WATTS = FeedInSettings(mode=FeedInMode.WATTS, limit_w=3000.0)
NOON = datetime(2026, 6, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("settings", "changes", "wanted"),
    [
        pytest.param(WATTS, {}, WATTS, id="nothing"),
        pytest.param(
            WATTS,
            {"limit_w": 2000},
            FeedInSettings(mode=FeedInMode.WATTS, limit_w=2000.0),
            id="one field, the others keep theirs",
        ),
        pytest.param(
            WATTS,
            {"mode": "percent", "limit_w": None, "limit_pct": 60},
            FeedInSettings(mode=FeedInMode.PERCENT, limit_pct=60.0),
            id="fields that only go together",
        ),
        pytest.param(
            PlantSettings(serial="a"),
            {"model": "A01"},
            PlantSettings(serial="a", model=Model.A01),
            id="the model",
        ),
    ],
)
def test_a_change_is_made(settings: Section, changes: dict[str, Any], wanted: Section) -> None:
    assert changed(settings, changes) == wanted


@pytest.mark.parametrize(
    ("settings", "changes", "reason"),
    [
        pytest.param(
            WATTS,
            {"feed_in_limit_w": 1},
            "feed_in_limit_w: unknown key; did you mean `limit_w`?",
            id="unknown field",
        ),
        pytest.param(
            WATTS,
            {"mode": "none"},
            "mode: 'none' is not one of unlimited, zero, watts, percent",
            id="unknown mode",
        ),
        pytest.param(
            WATTS,
            {"mode": "zero"},
            "limit_w has a meaning only with mode: watts",
            id="half a change",
        ),
        pytest.param(
            WATTS,
            {"limit_w": -1, "failsafe_w": "5"},
            "limit_w: -1 is too small: at least 0; failsafe_w: '5' is not a number",
            id="two faults",
        ),
        pytest.param(
            WATTS,
            {"limit_w": float("nan")},
            "limit_w: nan is not a finite number",
            id="not a number at all",
        ),
        pytest.param(
            WATTS,
            {"limit_w": b"\xff"},
            "limit_w: b'\\xff' is not a number",
            id="bytes, as msgpack may",
        ),
        pytest.param(
            EssSettings(),
            {"reserve_soc_pct": 60, "full_soc_pct": 50},
            "reserve_soc_pct must be below full_soc_pct",
            id="fields that do not go together",
        ),
    ],
)
def test_a_change_is_refused_with_all_that_is_wrong(
    settings: Section, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        changed(settings, changes)
    assert str(refused.value) == reason


def test_a_stored_section_reads_back() -> None:
    kept = not_yet_stored("feed-in", WATTS, NOON, "installer")
    assert from_stored("feed-in", kept.model_dump(mode="json", exclude={"version"})) == kept


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param([1], "does not hold settings", id="a list"),
        pytest.param(
            {},
            "changed_at: is missing; changed_by: is missing: Who asked for it; settings: is",
            id="empty",
        ),
        pytest.param(
            {
                "settings": {"mode": "watts"},
                "changed_at": "2026-06-21T12:00:00Z",
                "changed_by": "x",
            },
            "settings: limit_w is required with mode: watts",
            id="settings that cannot be",
        ),
        pytest.param(
            {"settings": {"limit": 1}, "changed_at": "2026-06-21T12:00:00Z", "changed_by": "x"},
            "settings.limit: unknown key; did you mean `limit_w`?",
            id="of another version of the program",
        ),
    ],
)
def test_a_stored_section_that_cannot_be_is_told_why(content: object, reason: str) -> None:
    with pytest.raises(ValueError, match="^" + reason.replace("?", r"\?")):
        from_stored("feed-in", content)


@pytest.mark.parametrize("model", Model)
@pytest.mark.parametrize("section", ["plant", "feed-in", "ess"])
def test_both_models_have_the_settings_of_pv_and_ess(model: Model, section: str) -> None:
    refuse_foreign(section, model)


def test_an_a02_has_all_settings_there_are() -> None:
    assert SECTIONS_OF[Model.A02] == set(SECTIONS)


def test_settings_that_a_model_has_not_are_refused_by_name() -> None:
    with pytest.raises(RefusedError) as refused:
        refuse_foreign("chargers", Model.A01)
    assert str(refused.value) == "A01 has no settings chargers, only ess, feed-in, plant"


def test_site_yaml_has_a_beginning_for_every_section() -> None:
    beginning = seed(PlantSettings(serial="a"), InitialSettings())
    assert list(beginning) == list(SECTIONS)
    for section, settings in beginning.items():
        assert not_yet_stored(section, settings, NOON, "site.yaml").settings == settings


def test_a_gateway_without_a_word_on_feed_in_feeds_nothing() -> None:
    assert InitialSettings().feed_in.mode is FeedInMode.ZERO


def test_differing_fields_are_named() -> None:
    assert differing_fields(WATTS, FeedInSettings()) == ["mode", "limit_w"]
    assert differing_fields(WATTS, WATTS) == []
