"""Runs before ``main.py``. Nothing here may fail: what it leaves undone, ``main.py`` can do later."""

import gc

gc.collect()
