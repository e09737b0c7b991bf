"""What children are forked from: everything imported, and the pipelines of `dags/` loaded."""

from faults.headline import errand, watcher
from faults.headline.pipelines import five

__all__ = ["errand", "watcher"]

five()
