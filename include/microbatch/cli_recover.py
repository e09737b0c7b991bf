"""The command by which a person goes on where cursor and ledger disagree, or the log is another one."""

from microbatch import recovering
from microbatch.cli_asking import agreed
from microbatch.deciding import Known, known, session
from microbatch.diagnosing import Ahead, Case, NewLog, Overwritten, Truncated
from microbatch.settings import connections
from microbatch.settling import group_name


def recover(name: str, reason: str | None, *, yes: bool) -> None:
    """Show why the pipeline has stopped and what recovering keeps and cannot keep; then do it."""
    there = connections()
    with session(there, f"{name} recover") as connection:
        pipeline = known(connection, there.deployment, name)
        case = recovering.look(connection, pipeline, there)
        if case is None:
            print(f"{name}: nothing to recover; cursor and ledger agree, and the log is the one that was read")
            return
        for line in _told(pipeline, case, group_name(there, name)):
            print(line)
        recovering.refuse(pipeline, case)
        why = agreed("Recover like this?", reason, yes=yes)
        left = recovering.recover(connection, pipeline, there, case, why)
    if left is not None:
        print(f"on record; there is more to recover: microbatch recover {name}")
    else:
        print(f"on record; the next run goes on: microbatch run {name}")


def _told(pipeline: Known, case: Case, group: str) -> list[str]:
    """What was found, what will be done, and what cannot be kept."""
    if isinstance(case, Overwritten):
        return _overwritten(case, group)
    if isinstance(case, Ahead):
        return _ahead(pipeline, case, group)
    if isinstance(case, NewLog):
        return _new_log(pipeline, case)
    return _truncated(pipeline, case)


def _overwritten(case: Overwritten, group: str) -> list[str]:
    found = f"has {case.found!r} as its cursor" if case.found else "has lost its cursor"
    lines = [
        (
            f"Group {group} {found}. The ledger has not left that there: its offsets were reset, or somebody uses the "
            "group (then stop that first)."
        )
    ]
    if (case.newest or 0) < case.marked:
        newest = f"publication {case.newest}" if case.newest else "none at all"
        lines.append(
            f"Publications up to {case.marked} were sent, and the newest of which there is a message on the output "
            f"topics now is {newest}. Either retention has deleted the newer ones, or Kafka has lost them: they will "
            "not be sent again."
        )
    else:
        lines.append("Our newest messages on the output topics are those that the ledger knows of: nothing is missing.")
    settled = f" Publications up to {case.sent} were sent, and are marked now." if case.sent > case.marked else ""
    return [*lines, f"Recovering writes our cursor and positions into the group again.{settled} Nothing is sent."]


def _ahead(pipeline: Known, case: Ahead, group: str) -> list[str]:
    if case.is_ours:
        found = [
            (
                f"The output topics have publications of this ledger up to {case.publication}; the ledger itself has "
                f"sent {case.marked}. So Postgres is a copy from before: what was sent since is on the topics, and the "
                "ledger does not know it."
            )
        ]
    else:
        found = [
            f"Group {group} and the output topics have publications of another ledger, up to {case.publication}:",
            (
                "- Either a second deployment of the same name works on this Kafka. Then say no, give this one a "
                "MICROBATCH_DEPLOYMENT and topics of its own; nothing was sent or changed."
            ),
            f"- Or Postgres was made anew, and {pipeline.name} had published from the old one. Only then go on.",
        ]
    lost = [
        f"{pipeline.source_topic}[{partition}] begins at offset {first} in this ledger; what was below it is gone."
        for partition, first in sorted(case.begins.items())
    ]
    return [
        *found,
        (
            "Recovering reads the output topics. Results there become the ledger's own, with their revisions; the next "
            "run publishes only what differs. Stream rows and dead letters that are there are not sent again."
        ),
        (
            "Not kept: batch numbers in their headers, and columns computed from the batch's time, are of the lost "
            "ledger."
        ),
        *lost,
        (
            "Where retention has deleted input, the result of a window of which nothing is left stays as it was "
            "published; one of which a part is left is published again, of that part."
        ),
    ]


def _new_log(pipeline: Known, case: NewLog) -> list[str]:
    source = pipeline.source_topic
    lines = [f"Topic {source} is another one than {pipeline.name} has read: its id is {case.topics[1]}."]
    if case.clusters is not None:
        lines.insert(0, f"This is Kafka cluster {case.clusters[1]}; {pipeline.name} has worked on {case.clusters[0]}.")
    lines.append("What was counted stays, and the new topic's messages are added to it, from its first one on.")
    lines.append(_unread(source, case.unread))
    if case.empty:
        lines.append(
            f"Nothing was ever written into {', '.join(case.empty)}: the results as they are now will be published "
            "there again, each with the revision that it has."
        )
    if (case.newest or 0) < case.sent:
        since = f"after publication {case.newest}" if case.newest else "before"
        lines.append(f"What else was sent {since} is not on the topics here, and is not sent again.")
    return lines


def _unread(source: str, unread: dict[int, int]) -> str:
    if not unread:
        return "When a run looked last, all of the old topic was read."
    places = ", ".join(f"{count:,} of {source}[{partition}]" for partition, count in sorted(unread.items()))
    return f"Lost, for they were seen and not read before the old topic was deleted: {places} (offsets)."


def _truncated(pipeline: Known, case: Truncated) -> list[str]:
    source = pipeline.source_topic
    return [
        *(
            f"{source}[{partition}] ends at offset {end}, but {covered} is counted: the end of its log is gone."
            for partition, (end, covered) in sorted(case.ends.items())
        ),
        (
            "What was counted stays counted. Messages from these ends on are counted as new ones, although their "
            "offsets were given before."
        ),
        (
            "Not kept: messages that were written since the log was cut and before now have offsets that were counted. "
            "They are not counted, and nothing tells them from those that were."
        ),
    ]
