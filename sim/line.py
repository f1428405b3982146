"""An RS485 line as a pseudo-terminal that keeps line speed, in a thread of its own.

The thread sleeps until the next chunk is due. Chunks leave within a fraction of a millisecond of
their time; the program around it should lower `sys.setswitchinterval`, or other threads hold this
one up for 5 ms.
"""

import ctypes
import math
import os
import select
import threading
import time
import tty
from contextlib import suppress
from pathlib import Path

from sim.wire import Wire

PR_SET_TIMERSLACK = 29
TIMER_SLACK_NS = 1000
LONGEST_SLEEP_S = 3600.0
READ_BYTES = 4096


class PacedLine:
    """A `Wire` behind a path that a serial client can open.

    Args:
        wire: The line and its units; used by this thread alone while the line runs.
        link: Where to put the symbolic link to the pseudo-terminal, for a stable name.
    """

    def __init__(self, wire: Wire, link: Path) -> None:
        self.wire = wire
        self.link = link
        self._ours = -1
        self._theirs = -1
        self._wake_read, self._wake_write = -1, -1
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the pseudo-terminal and serve it."""
        self._ours, self._theirs = os.openpty()
        # held open: without any open client end, reading ours fails and polling spins
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        self._wake_read, self._wake_write = os.pipe()
        fresh = self.link.with_name(self.link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._theirs))
        fresh.replace(self.link)
        self._thread = threading.Thread(target=self._serve, name=self.link.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the pseudo-terminal, as if the cable were cut; clients see an error or an end."""
        if self._thread is None:
            return
        os.write(self._wake_write, b".")
        self._thread.join()
        self._thread = None
        self.link.unlink(missing_ok=True)
        for fd in (self._ours, self._theirs, self._wake_read, self._wake_write):
            os.close(fd)

    @property
    def running(self) -> bool:
        """Whether the line is there."""
        return self._thread is not None

    def _serve(self) -> None:
        _be_punctual()
        wire, ours, wake = self.wire, self._ours, self._wake_read
        while True:
            next_s = wire.next_s
            wait_s = LONGEST_SLEEP_S if math.isinf(next_s) else next_s - time.monotonic()
            ready, _, _ = select.select([ours, wake], [], [], max(0.0, wait_s))
            if wake in ready:
                return
            if ours in ready:
                wire.heard(os.read(ours, READ_BYTES), time.monotonic())
            through = wire.due(time.monotonic())
            if through:
                self._hand_over(through)

    def _hand_over(self, through: bytes) -> None:
        try:
            taken = os.write(self._ours, through)
        except BlockingIOError:
            taken = 0
        self.wire.report.lost_bytes += len(through) - taken


def _be_punctual() -> None:
    """Wake this thread on time; without the rights for it chunks are late on a busy machine."""
    with suppress(OSError, AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
