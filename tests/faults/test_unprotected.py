"""What protects is needed, and the check sees what happens without it: each protection is taken away in turn."""

import psycopg

from fix_child import Children, check, look, sessions, wait_for, waiting
from fix_late import MESSAGES
from fix_pipeline import World, sale

SHORT = {"postgres.IDLE_IN_TRANSACTION_S": 4, "postgres.IDLE_SESSION_S": 6}


def drop_constraint(world: World) -> None:
    with psycopg.connect(world.connections.postgres) as connection:
        connection.execute("alter table microbatch.offset_range drop constraint offset_counts_once")


def test_without_lock_and_constraint_a_message_counts_twice_and_the_check_says_so(
    world: World, children: Children
) -> None:
    world.run(0)
    drop_constraint(world)
    world.send(sale("ada", 3), sale("bob", 5))
    first = children.start(world, world.run_of(1), crash="consume.after_claim:stop", without=("shard lock",))
    first.wait_until_stopped()
    children.succeed(world, world.run_of(1), without=("shard lock",))

    first.go_on()

    assert not first.outcome().error
    assert world.results()[0][:4] == (0, "ada", 6, 2)
    differences = look(world, patience_s=0).differences
    assert any("overlap" in difference for difference in differences), differences
    assert any("aggregated_sales" in difference for difference in differences), differences


def test_the_constraint_alone_keeps_a_message_from_counting_twice(world: World, children: Children) -> None:
    world.send(sale("ada", 3), sale("bob", 5))
    first = children.start(world, world.run_of(0), crash="consume.after_claim:stop", without=("shard lock",))
    first.wait_until_stopped()
    second = children.start(world, world.run_of(0), without=("shard lock",))
    wait_for("the second waits for the first one's ranges", lambda: waiting(world) == ["transactionid"])

    first.go_on()

    assert not first.outcome().error
    assert second.outcome().error == "RangeTakenError"
    children.succeed(world, world.run_of(1))
    assert check(world).messages == 2


def test_the_lock_alone_keeps_a_message_from_counting_twice(world: World, children: Children) -> None:
    world.run(0)
    drop_constraint(world)
    world.send(sale("ada", 3), sale("bob", 5))
    first = children.start(world, world.run_of(1), crash="consume.after_claim:stop")
    first.wait_until_stopped()
    second = children.start(world, world.run_of(1))
    wait_for("the second waits for the shard's lock", lambda: waiting(world) == ["advisory"])

    first.go_on()

    assert [first.outcome().error, second.outcome().error] == ["", ""]
    assert check(world).messages == 2


def test_without_the_cursor_messages_are_sent_twice_and_the_check_says_so(late: World, children: Children) -> None:
    run = late.run_of(1, "killed")
    assert children.start(late, run, crash="publish.after_kafka_commit").died_by_kill()

    children.succeed(late, run, without=("settling",))

    differences = look(late, patience_s=0).differences
    assert any("aggregated-sales" in difference for difference in differences), differences
    assert any("-dlq" in difference for difference in differences), differences


def test_without_fencing_and_cursor_a_zombie_sends_twice_and_the_check_says_so(late: World, children: Children) -> None:
    run = late.run_of(1, "zombie")
    zombie = children.start(late, run, crash="publish.before_kafka_commit:stop", constants=SHORT)
    zombie.wait_until_stopped()
    children.succeed(late, run, without=("fencing", "settling"), constants={"postgres.LOCK_PATIENCE_S": 1})
    wait_for("the server has ended the zombie's session", lambda: not sessions(late))

    zombie.go_on()

    assert zombie.outcome().error == "ConnectionLostError", zombie.outcome()
    differences = look(late, patience_s=0).differences
    assert any("aggregated-sales" in difference for difference in differences), differences


def test_without_fencing_the_cursor_alone_keeps_a_zombie_from_sending_twice(late: World, children: Children) -> None:
    """The broker does not tell offsets while a transaction that has new ones is open."""
    run = late.run_of(1, "zombie")
    zombie = children.start(late, run, crash="publish.before_kafka_commit:stop", constants=SHORT)
    zombie.wait_until_stopped()

    other = children.do(late, run, without=("fencing",), constants={"settling.FENCE_TIMEOUT_S": 3})

    assert other.is_ours, other
    zombie.go_on()
    zombie.outcome()
    children.succeed(late, run)
    assert check(late).messages == MESSAGES
