"""Kafka and PostgreSQL die under a run, and come back."""

from collections.abc import Iterator

import psycopg
import pytest

from child import IMPATIENT
from fix_child import Child, Children, check, wait_for
from fix_late import MESSAGES, RESULTS
from fix_others import open_transactions
from fix_pipeline import World
from fix_stack import Stack
from microbatch.crash import CrashPoint
from microbatch.errors import KafkaUnreachableError, PostgresUnreachableError


@pytest.fixture
def repaired(stack: Stack) -> Iterator[Stack]:
    """The stack, running again at the end whatever the test did to it."""
    yield stack
    for component in ("kafka", "postgres"):
        stack.start(component)


def stopped(late: World, children: Children, point: CrashPoint) -> Child:
    child = children.start(late, late.run_of(1, "hit"), crash=f"{point}:stop", constants=IMPATIENT)
    child.wait_until_stopped()
    return child


@pytest.mark.parametrize(
    "point",
    ["consume.after_claim", "consume.before_commit", "publish.after_totals", "publish.after_intent"],
)
def test_a_run_that_loses_postgres_says_so_and_the_next_one_goes_on(
    late: World, repaired: Stack, children: Children, point: CrashPoint
) -> None:
    child = stopped(late, children, point)
    repaired.kill("postgres")
    repaired.start("postgres")

    child.go_on()

    assert child.outcome().error == "ConnectionLostError", child.outcome()
    children.succeed(late, late.run_of(1, "hit"))
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


def test_what_was_sent_while_postgres_died_is_not_sent_again(late: World, repaired: Stack, children: Children) -> None:
    child = stopped(late, children, "publish.before_kafka_commit")
    repaired.kill("postgres")

    child.go_on()

    assert child.outcome().is_ours, child.outcome()
    repaired.start("postgres")
    assert children.succeed(late, late.run_of(1, "hit")).sent == 0
    assert check(late).messages == MESSAGES


def test_a_run_without_postgres_says_that_it_does_not_answer(late: World, repaired: Stack) -> None:
    repaired.kill("postgres")

    with pytest.raises(PostgresUnreachableError, match="does not answer"):
        late.run(1)


@pytest.mark.parametrize("point", ["consume.after_claim", "publish.after_intent"])
def test_a_run_that_loses_kafka_says_so_and_the_next_one_goes_on(
    late: World, repaired: Stack, children: Children, point: CrashPoint
) -> None:
    child = stopped(late, children, point)
    repaired.kill("kafka")

    child.go_on()

    assert child.outcome().is_transient, child.outcome()
    repaired.start("kafka")
    children.retry(late, late.run_of(1, "hit"))
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


@pytest.mark.parametrize("point", ["publish.inside_transaction", "publish.before_kafka_commit"])
def test_a_broker_that_dies_inside_a_transaction_and_comes_back_loses_and_repeats_nothing(
    late: World, repaired: Stack, children: Children, point: CrashPoint
) -> None:
    child = stopped(late, children, point)
    repaired.kill("kafka")
    repaired.start("kafka")

    child.go_on()

    outcome = child.outcome()
    assert not outcome.error or outcome.is_transient, outcome
    children.retry(late, late.run_of(1, "hit"))
    assert late.results() == RESULTS
    assert check(late).messages == MESSAGES


def test_a_transaction_that_the_broker_has_timed_out_is_sent_by_the_next_run(late: World, children: Children) -> None:
    """The process is stopped for longer than its transaction may last, and nobody else works."""
    child = stopped(late, children, "publish.before_kafka_commit")
    assert open_transactions(late)
    wait_for("the broker has aborted the transaction", lambda: not open_transactions(late))

    child.go_on()

    assert child.outcome().is_ours, child.outcome()
    assert children.succeed(late, late.run_of(1, "hit")).sent > 0
    assert check(late).messages == MESSAGES


def test_a_run_without_kafka_says_that_it_does_not_answer(late: World, repaired: Stack) -> None:
    repaired.kill("kafka")

    with pytest.raises(KafkaUnreachableError, match="does not answer"):
        late.run(1)


@pytest.mark.parametrize("point", ["consume.after_claim", "publish.after_intent"])
def test_a_session_that_is_terminated_ends_its_run_and_nothing_else(
    late: World, stack: Stack, children: Children, point: CrashPoint
) -> None:
    child = stopped(late, children, point)
    with psycopg.connect(stack.admin_dsn) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and application_name like %s",
            (late.rows("select current_database()")[0][0], "microbatch%"),
        )

    child.go_on()

    assert child.outcome().error == "ConnectionLostError", child.outcome()
    children.succeed(late, late.run_of(1, "hit"))
    assert check(late).messages == MESSAGES
