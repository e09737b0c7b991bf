"""Free ports for what tests start."""

import os

from local import ports


def random_free(taken: frozenset[int] = frozenset()) -> int:
    """A free port among those of this worker: one that another worker has chosen stays free until its server listens.

    Args:
        taken: ports that are promised already.
    """
    # pytest-xdist sets both in each worker.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    each = len(ports.PRIVATE) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return ports.random_free(taken, ports.PRIVATE[worker * each : (worker + 1) * each])
