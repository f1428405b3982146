"""A log that cannot be written is no reason for a house to go without its controller."""

import contextlib
import io
import json
from pathlib import Path

import structlog

from runtime.process import LogOutput


class Disk(io.StringIO):
    """Full, until there is room again."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_lines_for_a_full_disk_end_nothing() -> None:
    with contextlib.suppress(OSError), Path("/dev/full").open("w") as full:  # closing it raises
        output = LogOutput(full)
        for written in range(3):
            output.write(f"line {written}\n")
            output.flush()


def test_what_could_not_be_written_is_said_when_there_is_room_again() -> None:
    disk = Disk()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(LogOutput(disk)))  # type: ignore[arg-type]
    log = structlog.get_logger()
    try:
        log.info("lost")
        log.info("lost")
        disk.full = False
        log.info("heard")
        log.info("heard")
    finally:
        structlog.reset_defaults()
    first, *rest = disk.getvalue().splitlines()
    assert json.loads(first) == {"level": "warning", "event": "log_was_stuck", "lines": 2}
    assert ["heard" in line for line in rest] == [True, True]
