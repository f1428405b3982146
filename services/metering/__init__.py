"""The measurement at the grid connection point: CT samples or a Modbus meter; energy registers."""

import os

# Before numpy is first imported: a window is far too small to share among threads, and the threads
# of its linear algebra would keep other cores awake.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
