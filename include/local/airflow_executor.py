"""LocalExecutor for a scheduler that rests while there is nothing to do.

Airflow's scheduler looks at all running DAG runs again and again, each with a dozen queries; how often is a setting. It
has to be often if tasks are to start soon, and the runs of demo producers are always there to be looked at. Yet nearly
all that a look can find has one of two causes: a task has ended, which the executor is told, or a schedule is due, at a
full minute or at half past. So the executor, which the scheduler calls in each of its rounds, keeps it until then. What
nobody tells it (a person triggers a run, a retry is due, a task was lost) is found by rounds in between: soon after
each piece of news, then less and less often.
"""

import time
from multiprocessing.connection import wait
from typing import Any, Final

from airflow.executors.local_executor import LocalExecutor
from airflow.sdk.listener import get_listener_manager

FIRST_S: Final = 0.25  # from news to the next round without any; each one after it takes twice as long
LONGEST_S: Final = 4.0  # what people trigger waits for as long at most, and so does the scheduler's own heartbeat
SCHEDULES_S: Final = 30.0  # multiples of it, on the clock, are when schedules are due


class RestingExecutor(LocalExecutor):
    """LocalExecutor that gives control back to the scheduler when there is news, or when it is time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._rest_s = FIRST_S
        self._has_started = False

    def start(self) -> None:
        """Start the workers; what each task would load of Airflow's plugins is loaded before they are forked."""
        get_listener_manager()
        super().start()

    def sync(self) -> None:
        """Take in which tasks have ended; if none has, and none was started in this round, wait for it."""
        super().sync()
        if self.event_buffer or self._has_started:
            self._has_started, self._rest_s = False, FIRST_S
            return
        until_due_s = SCHEDULES_S - time.time() % SCHEDULES_S
        is_due = until_due_s <= self._rest_s
        # The queue itself can only be asked, or be read until something comes.
        has_news = wait([self.result_queue._reader], min(until_due_s, self._rest_s))  # type: ignore[attr-defined]
        if has_news:
            super().sync()
        self._rest_s = FIRST_S if has_news or is_due else min(2 * self._rest_s, LONGEST_S)

    def _process_workloads(self, workload_list: Any) -> None:
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]
        self._has_started = True
