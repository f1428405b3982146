"""A timer of some ten microseconds: the event loop's own rounds up to whole milliseconds.

At 115200 baud the silent interval is 1.75 ms, so a millisecond lost on each side of every request
would cost 6 % of the line. Linux' timerfd is one more descriptor in the same `epoll`.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # the kernel defines TFD_* as these
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class PreciseTimer:
    """Calls back at an instant of `time.monotonic()`. One at a time: arming again replaces it."""

    # Python has os.timerfd_create only since 3.13; we start at 3.11, so the C library is called.

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop.add_reader(self._fd, self._due)

    def arm(self, at_s: float) -> None:
        """Call back at this instant; at once when it has passed."""
        # 1 ns at least: all zeros would disarm it.
        seconds, rest = divmod(max(at_s, 1e-9), 1.0)
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(int(seconds), int(rest * 1e9)))
        if self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        """Disarm and let go of it."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _due(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # armed anew between its expiry and now
        self._callback()
