"""Free ports for what tests start."""

import os
from typing import Final

from local import ports

WORKERS: Final = 4
"""Those of `make test`."""


def random_free(taken: frozenset[int] = frozenset()) -> int:
    """A free port among those of this worker: one that another worker has chosen stays free until its server listens.

    Args:
        taken: ports that are promised already.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    each = len(ports.PRIVATE) // WORKERS
    first = worker % WORKERS * each
    return ports.random_free(taken, ports.PRIVATE[first : first + each])
