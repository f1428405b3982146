from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.store import Loaded, Store, StoreError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def as_saved(content: Any) -> Any:  # noqa: ANN401  whatever was saved
    return content


def newest(folder: Path) -> Path:
    return max(folder.glob("energy.*.json"), key=lambda file: int(file.name.split(".")[1]))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "energy")


@pytest.fixture
def two_copies(store: Store) -> Store:
    store.save({"import_energy_wh": 1.0})
    store.save({"import_energy_wh": 2.0})
    return store


def test_a_store_without_folder_is_empty(tmp_path: Path) -> None:
    assert Store(tmp_path / "new", "energy").load(as_saved) == Loaded(None, 0, ())


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file", "energy")
    with pytest.raises(StoreError, match="Not a directory"):
        store.load(as_saved)
    with pytest.raises(StoreError, match="energy cannot be stored: "):
        store.save(1)


@given(content=JSON)
def test_what_was_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    store = Store(tmp_path_factory.mktemp("store") / "made" / "when needed", "energy")
    assert store.save(content) == 1
    assert store.load(as_saved) == Loaded(content, 1, ())


def test_keys_that_json_turns_into_texts_are_no_damage(store: Store) -> None:
    store.save({2: "a", 10: "b"})
    assert store.load(as_saved) == Loaded({"2": "a", "10": "b"}, 1, ())


def test_the_last_good_copies_are_kept_and_older_ones_dropped(tmp_path: Path, store: Store) -> None:
    for count in range(12):
        assert store.save(count) == count + 1
    assert {file.name for file in tmp_path.iterdir()} == {
        "energy.10.json",
        "energy.11.json",
        "energy.12.json",
    }
    assert store.load(as_saved) == Loaded(11, 12, ())


def test_two_names_in_one_folder_are_two_stores(tmp_path: Path) -> None:
    energy, other = Store(tmp_path, "energy"), Store(tmp_path, "energy.old")
    energy.save(1)
    other.save(2)
    assert (energy.load(as_saved).content, other.load(as_saved).content) == (1, 2)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda raw: raw[: len(raw) // 2], "is cut short or garbled", id="truncated"),
        pytest.param(lambda raw: raw[:-1], "is cut short or garbled", id="last byte missing"),
        pytest.param(lambda _: b"", "is empty", id="empty"),
        pytest.param(lambda _: b"\0" * 4096, "is cut short or garbled", id="block of zeros"),
        pytest.param(lambda _: b"\xff\xfe", "is cut short or garbled", id="not text"),
        pytest.param(lambda _: b"[1]", "is cut short or garbled", id="other JSON"),
        pytest.param(lambda _: b"[" * 99_999, "is cut short or garbled", id="deep JSON"),
        pytest.param(
            lambda raw: raw.replace(b"2.0", b"3.0"),
            "has another checksum than its content",
            id="edited",
        ),
    ],
)
def test_a_damaged_copy_gives_way_to_the_last_good_one(
    tmp_path: Path,
    two_copies: Store,
    damage: Any,  # noqa: ANN401  bytes to bytes
    reason: str,
) -> None:
    file = newest(tmp_path)
    file.write_bytes(damage(file.read_bytes()))

    loaded = two_copies.load(as_saved)

    assert (loaded.content, loaded.number) == ({"import_energy_wh": 1.0}, 1)
    assert [str(copy) for copy in loaded.damaged] == [f"copy 2 {reason}"]


def test_no_flipped_bit_is_ever_loaded_as_something_else(tmp_path: Path, two_copies: Store) -> None:
    file = newest(tmp_path)
    good = file.read_bytes()
    harmless = 0
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        loaded = two_copies.load(as_saved)
        assert loaded.content == {"import_energy_wh": float(loaded.number)}
        harmless += loaded.number == 2
    assert harmless < len(good)  # blanks between the entries; nothing else may change unnoticed


def test_a_copy_that_cannot_be_opened_gives_way(tmp_path: Path, two_copies: Store) -> None:
    newest(tmp_path).unlink()
    (tmp_path / "energy.2.json").mkdir()
    loaded = two_copies.load(as_saved)
    assert (loaded.number, str(loaded.damaged[0])) == (1, "copy 2 cannot be read: Is a directory")


def test_a_renamed_copy_is_noticed(tmp_path: Path, two_copies: Store) -> None:
    (tmp_path / "energy.1.json").rename(tmp_path / "energy.9.json")
    loaded = two_copies.load(as_saved)
    assert (loaded.content, loaded.number, len(loaded.damaged)) == ({"import_energy_wh": 2.0}, 2, 1)


def test_content_that_its_reader_refuses_gives_way(two_copies: Store) -> None:
    def read(content: dict[str, float]) -> float:
        if content["import_energy_wh"] > 1.5:
            raise ValueError("is not of this house")
        return content["import_energy_wh"]

    loaded = two_copies.load(read)
    assert (loaded.content, str(loaded.damaged[0])) == (1.0, "copy 2 is not of this house")


def test_when_all_copies_are_damaged_there_is_nothing_but_their_names(
    tmp_path: Path, two_copies: Store
) -> None:
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    loaded = two_copies.load(as_saved)
    assert (loaded.content, loaded.number) == (None, 0)
    assert [copy.number for copy in loaded.damaged] == [2, 1]


def test_saving_after_damage_takes_a_new_number_and_keeps_the_good_ones(
    tmp_path: Path, two_copies: Store
) -> None:
    newest(tmp_path).write_bytes(b"")
    assert two_copies.save("new") == 3
    assert {file.name for file in tmp_path.iterdir()} == {"energy.1.json", "energy.3.json"}


def test_a_full_disk_leaves_the_old_copy_and_says_so(tmp_path: Path, two_copies: Store) -> None:
    (tmp_path / ".energy.new").symlink_to("/dev/full")  # every write to it: no space left

    with pytest.raises(StoreError, match="energy cannot be stored: No space left on device"):
        two_copies.save("new")

    assert two_copies.load(as_saved) == Loaded({"import_energy_wh": 2.0}, 2, ())
    assert {file.name for file in tmp_path.iterdir()} == {"energy.1.json", "energy.2.json"}
    assert two_copies.save("new") == 3  # there is room again


def test_a_save_that_was_cut_off_by_a_crash_is_not_seen(tmp_path: Path, two_copies: Store) -> None:
    (tmp_path / ".energy.new").write_bytes(b'{"sha256": "12')
    assert two_copies.load(as_saved).number == 2
    assert two_copies.save("new") == 3


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_cannot_hold_is_the_callers_mistake(store: Store, number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.save(number)
    assert store.load(as_saved).number == 0
