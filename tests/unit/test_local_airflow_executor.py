"""How long Airflow's scheduler rests between two rounds."""

import multiprocessing
import threading
import time
from multiprocessing import SimpleQueue
from typing import Any

import pytest
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.utils.state import TaskInstanceState

from local.airflow_executor import RestingExecutor

DONE: Any = (TaskInstanceKey("sales", "publish", "a run"), TaskInstanceState.SUCCESS, None)


class Idle(RestingExecutor):
    """One without workers, which are started by nothing but `start`."""

    def __init__(self) -> None:
        super().__init__(parallelism=1)
        self.activity_queue, self.result_queue = SimpleQueue(), SimpleQueue()
        self.workers = {}
        self._unread_messages = multiprocessing.Value("I")


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each rest, none of which takes any; it is a second after a full minute."""
    seconds: list[float] = []

    def rest(_readers: Any, timeout_s: float) -> list[Any]:
        seconds.append(timeout_s)
        return []

    monkeypatch.setattr("local.airflow_executor.wait", rest)
    monkeypatch.setattr("local.airflow_executor.time.time", lambda: 6001.0)
    return seconds


def test_without_news_each_rest_is_twice_as_long_up_to_the_longest(rests: list[float]) -> None:
    executor = Idle()

    for _ in range(7):
        executor.sync()

    assert rests == [0.25, 0.5, 1, 2, 4, 4, 4]


def test_no_rest_goes_beyond_a_full_half_minute_and_after_it_they_are_short(
    rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = Idle()
    for _ in range(5):
        executor.sync()

    monkeypatch.setattr("local.airflow_executor.time.time", lambda: 6028.5)
    executor.sync()
    executor.sync()

    assert rests[-2:] == [1.5, 0.25]


def test_there_is_no_rest_in_a_round_that_has_started_or_ended_a_task(rests: list[float]) -> None:
    executor = Idle()

    executor.result_queue.put(DONE)
    executor.sync()
    ended = executor.get_event_buffer()
    executor._process_workloads([])
    executor.sync()
    assert (rests, list(ended)) == ([], [DONE[0]])

    executor.sync()
    assert rests == [0.25]


def test_the_end_of_a_task_ends_the_rest_and_is_known_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.airflow_executor.FIRST_S", 240.0)
    monkeypatch.setattr("local.airflow_executor.SCHEDULES_S", 1e12)
    executor = Idle()
    worker = threading.Timer(0.1, executor.result_queue.put, [DONE])

    worker.start()
    began_s = time.monotonic()
    executor.sync()
    worker.join()

    assert time.monotonic() - began_s < 120
    assert list(executor.event_buffer) == [DONE[0]]
