"""A small file store: what was saved survives crashes, a full disk and a damaged file.

Each save makes a new file `<name>.<number>.json`, complete or not at all: written aside, synced,
renamed, and the folder synced. The last good ones are kept. A checksum inside tells damage.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

Content = TypeVar("Content")


class StoreError(Exception):
    """Nothing was saved: the reason is for a person. What was stored before is untouched."""


@dataclass(frozen=True)
class Damage:
    """A copy that cannot be used."""

    number: int
    reason: str

    def __str__(self) -> str:
        """For a log or a fault."""
        return f"copy {self.number} {self.reason}"


@dataclass(frozen=True)
class Loaded(Generic[Content]):
    """The newest copy that could be read."""

    content: Content | None
    """None: there is none."""
    number: int
    """Of the copy; 0: none."""
    damaged: tuple[Damage, ...]
    """Newer copies that could not be read, newest first; all that remain if none could."""


class Store:
    """The copies of one name in one folder. One process writes them."""

    def __init__(self, folder: Path, name: str, *, keep: int = 3) -> None:
        """Args: folder: made when needed. name: of the files. keep: good copies to keep."""
        self._folder = folder
        self._name = name
        self._keep = keep

    def load(self, read: Callable[[Any], Content]) -> Loaded[Content]:
        """Find the newest good copy.

        Args:
            read: Makes the content of what was saved; a ValueError of its makes the copy damaged.

        Raises:
            StoreError: The folder cannot be read.
        """
        damaged: list[Damage] = []
        try:
            numbers = self._numbers()
        except OSError as error:
            raise StoreError(f"{self._folder} cannot be read: {error.strerror}") from error
        for number in numbers:
            try:
                return Loaded(read(self._checked(number)), number, tuple(damaged))
            except OSError as error:
                reason = f"cannot be read: {error.strerror}"
            except ValueError as error:
                reason = str(error)
            damaged.append(Damage(number, reason))
        return Loaded(None, 0, tuple(damaged))

    def save(self, content: object) -> int:
        """Store a new copy, durably, and drop old and damaged ones.

        Args:
            content: What JSON can hold.

        Returns:
            The copy's number, above that of all before it.

        Raises:
            StoreError: It could not be stored, e.g. because the disk is full.
        """
        aside = self._folder / f".{self._name}.new"
        target = aside
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            number = max(self._numbers(), default=0) + 1
            target = self._file(number)
            with aside.open("wb") as file:
                file.write(_written(number, content))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
            self._sync_folder()
        except OSError as error:
            for file_left in (aside, target):
                with contextlib.suppress(OSError):
                    file_left.unlink()
            raise StoreError(f"{self._name} cannot be stored: {error.strerror}") from error
        self._drop_old(number)
        return number

    def _numbers(self) -> list[int]:
        """Numbers of the copies there are, newest first."""
        pattern = re.compile(re.escape(self._name) + r"\.([1-9][0-9]{0,17})\.json")
        try:
            names = [file.name for file in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        found = (pattern.fullmatch(name) for name in names)
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"{self._name}.{number}.json"

    def _checked(self, number: int) -> Any:  # noqa: ANN401  whatever was saved
        raw = self._file(number).read_bytes()
        if not raw:
            raise ValueError("is empty")
        try:
            copy = json.loads(raw)
            content = copy["content"]
            good = copy["sha256"] == _checksum(number, content)
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise ValueError("is cut short or garbled") from error
        if not good:
            raise ValueError("has another checksum than its content")
        return content

    def _drop_old(self, newest: int) -> None:
        """Best effort: a file too many does no harm."""
        kept = 1
        for number in self._numbers():
            if number == newest:
                continue
            if self._is_good(number):
                kept += 1
                if kept <= self._keep:
                    continue
            with contextlib.suppress(OSError):
                self._file(number).unlink()

    def _is_good(self, number: int) -> bool:
        """A damaged copy was reported when it was loaded."""
        try:
            self._checked(number)
        except (OSError, ValueError):
            return False
        return True

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _checksum(number: int, content: object) -> str:
    """Over the number too, so that a renamed file is noticed."""
    exact = json.dumps([number, content], sort_keys=True)
    return hashlib.sha256(exact.encode()).hexdigest()


def _written(number: int, content: object) -> bytes:
    as_read = json.loads(json.dumps(content, allow_nan=False))  # keys have become texts
    copy = {"sha256": _checksum(number, as_read), "content": as_read}
    return json.dumps(copy, indent=2).encode()
