"""`python -m sim`."""

import os
import sys

# one small matrix product every 20 ms: threads of the linear algebra would cost more than it
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from sim.app import main

if __name__ == "__main__":
    sys.exit(main())
