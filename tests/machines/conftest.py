"""Which tests on several machines belong to which arrangement of Redis."""

from tests.conftest import TESTS_ON

#: A minute with two whole fleets: a part of ``make arrangements``. That cables are cut is tested everywhere, with one
#: Redis, by ``test_machines.py``.
collect_ignore = [] if TESTS_ON == "sentinel" else ["test_partition.py"]
