"""One thread for arithmetic, before anything counts the cores.

Small arrays gain nothing from threads, which wait for each other wherever something else runs beside the tests.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
