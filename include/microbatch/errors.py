"""Every error that microbatch raises. Facts go in, the text comes out: object, value, remedy.

Two markers say what a scheduler should do: a `TerminalError` will fail again until a person acts, a
`TransientError` may pass when it is tried again. All errors pickle, for they cross process borders.
"""

from typing import Any


class MicrobatchError(Exception):
    """What all errors of microbatch have in common.

    Subclasses are built from keyword facts, kept as attributes, and give their text in `message`.
    """

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        super().__init__(self.message.format(**facts))

    message = "something failed"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.facts)


def _rebuild(kind: type[MicrobatchError], facts: dict[str, Any]) -> MicrobatchError:
    return kind(**facts)


class TerminalError(MicrobatchError):
    """Trying again does not help: a person has to act first."""


class TransientError(MicrobatchError):
    """May pass by itself: worth another try."""


# -- declarations ------------------------------------------------------------------------------------------


class DeclarationError(TerminalError):
    """A pipeline that cannot work as it is declared."""

    message = "pipeline {pipeline!r}: {what}; {remedy}"


class UnknownFieldError(DeclarationError):
    """A declaration names a field that the event does not have."""

    message = "pipeline {pipeline!r}: {where} names the field {field!r}, which {event} does not have; it has {fields}"


class PipelineNotFoundError(TerminalError):
    """No file of the DAGs folder declares a pipeline of this name."""

    message = "no pipeline {name!r} in {folder}; declared there: {declared}"


class DagFileError(TerminalError):
    """A file of the DAGs folder cannot be imported."""

    message = "{file} cannot be imported: {error}; correct it and try again"


class CheckoutNeededError(TerminalError):
    """A command of the embedded stack was called where only the wheel is installed."""

    message = "`microbatch {command}` works on the embedded stack and needs a checkout: the wheel leaves it out"


class RenameRefusedError(TerminalError):
    """A pipeline cannot get the name that somebody wants for it."""

    message = "pipeline {old!r} cannot be renamed to {new!r}: {reason}; nothing was changed"


class NewPipelineRefusedError(TerminalError):
    """The files of a new pipeline cannot be written."""

    message = "pipeline {name!r} was not made: {reason}; {remedy}"


class TopicUnknownError(TerminalError):
    """A topic that somebody wants to read does not exist."""

    message = "topic {topic!r} does not exist on {bootstrap}; it has {known}"


class MessagesLostError(TransientError):
    """Kafka did not take messages that somebody sent by hand."""

    message = "{count} of {total} messages did not reach topic {topic!r} ({reason})"


class StatementError(TerminalError):
    """PostgreSQL refuses a statement."""

    message = "PostgreSQL refuses it: {reason}"


class PsqlMissingError(TerminalError):
    """There is no psql to open."""

    message = 'there is no {program} here; give a statement instead: microbatch sql "select …"'


class NotRegisteredError(TerminalError):
    """A pipeline that somebody asks for is not in the ledger."""

    message = (
        "no pipeline {pipeline!r} is registered in deployment {deployment!r}; registered there: {registered}. "
        "Its first run registers it"
    )


class ResultUnknownError(TerminalError):
    """A result that somebody wants explained is not there."""

    message = "{table}: {what}; {there}"


class ExportRefusedError(TerminalError):
    """A file of results cannot be written."""

    message = "{file}: {reason}"


class NotDecidedError(TerminalError):
    """A command that changes what was counted needs a person's word."""

    message = (
        "nothing was changed: {missing} is missing. Without a terminal, give --yes and --reason; the reason is kept on "
        "record"
    )


class RebuildRefusedError(TerminalError):
    """What a pipeline has counted cannot be counted again by the definition that its file has now."""

    message = "pipeline {pipeline!r} cannot be rebuilt: {reason}. {remedy}"


class NotAsShownError(TransientError):
    """What a person has agreed to is not what there is any more."""

    message = (
        "pipeline {pipeline!r}: it is not any more as it was shown; nothing was changed. Look again: "
        "`microbatch {command} {pipeline}`"
    )


# -- connections -------------------------------------------------------------------------------------------


class KafkaUnreachableError(TransientError):
    """No broker answers."""

    message = (
        "Kafka at {bootstrap} does not answer ({reason}); start it (`microbatch up --only stack`) "
        "or correct bootstrap.servers and the security settings of the Kafka connection"
    )


class KafkaRefusedError(TerminalError):
    """Kafka lets us in, but its access control lists do not give us what we ask for."""

    message = (
        "Kafka at {bootstrap} lets the login of the Kafka connection in, but refuses what it asks for ({reason}); give "
        "it the rights that docs/security.md lists"
    )


class KafkaSettingsError(TerminalError):
    """The Kafka client cannot work with the settings of the connection."""

    message = (
        "the Kafka connection cannot be used: {reason}; correct the extra of Airflow's connection `kafka_default`, "
        "or the variable KAFKA_SETTINGS where there is no Airflow"
    )


class PostgresUnreachableError(TransientError):
    """PostgreSQL does not answer or refuses the login."""

    message = (
        "PostgreSQL at {where} does not answer ({reason}); start it (`microbatch up --only stack`) "
        "or correct the Postgres connection"
    )


class ConnectionStringError(TerminalError):
    """A connection string of PostgreSQL has not the form of one. What it says stays untold: a password is in it."""

    message = (
        "the connection string of PostgreSQL cannot be read; write it as {form}, with signs such as @ and / in the "
        "password as %40 and %2F"
    )


class ConnectionLostError(TransientError):
    """A session of PostgreSQL has ended, and with it its transaction and its locks."""

    message = "the session `{purpose}` on PostgreSQL at {where} ended ({reason}); what was not committed never happened"


class SessionSharedError(TerminalError):
    """A pooler gives a session of PostgreSQL to several clients at once, and so a lock to somebody who has none."""

    message = (
        "PostgreSQL at {where} is behind a pooler that gives one session to several clients: locks and settings of "
        "a session do not hold; set `pool_mode = session` for this database, or connect to PostgreSQL itself"
    )


class PostgresRefusesError(TransientError):
    """PostgreSQL has no room, no time or no lock for a statement; another time it may have."""

    message = (
        "PostgreSQL at {where} could not go on with `{purpose}` ({reason}); what was not committed never happened. "
        "To help it: {remedy}"
    )


class SchemaRegistryUnreachableError(TransientError):
    """The schema registry does not answer, or not as a registry does: nothing can be said of values that it is for."""

    message = (
        "the schema registry at {address} does not answer ({reason}); nothing of the batch counts, nothing is lost: "
        "the next run reads it again. Start it, or correct Airflow's connection `schema_registry_default`, or the "
        "variable SCHEMA_REGISTRY_URL where there is no Airflow"
    )


class SchemaRegistryRefusedError(TerminalError):
    """The schema registry does not let us in, or another server answers at its address."""

    message = (
        "the schema registry at {address} refuses what it is asked ({reason}); nothing of the batch counts, nothing "
        "is lost: the next run reads it again. Correct address, login and password of Airflow's connection "
        "`schema_registry_default`, or SCHEMA_REGISTRY_URL and SCHEMA_REGISTRY_SETTINGS where there is no Airflow"
    )


class SchemaRegistrySettingsError(TerminalError):
    """The schema registry's client cannot work with the settings of the connection."""

    message = (
        "the connection to the schema registry cannot be used: {reason}; correct the extra of Airflow's connection "
        "`schema_registry_default`, or the variable SCHEMA_REGISTRY_SETTINGS where there is no Airflow"
    )


class ValueFormatError(TerminalError):
    """The packages are missing that read a source's values."""

    message = (
        "topic {topic!r} has values in {form}, and there is no package {module!r} to read them; "
        "install it: pip install 'microbatch[{form}]'"
    )


class SettingMissingError(TerminalError):
    """A setting that has no default is not set."""

    message = "{setting} is not set; {remedy}"


class SettingWrongError(TerminalError):
    """A setting cannot be read as what it is for."""

    message = "{setting}={value!r} does not have the form {form}; write it as in {setting}={example}, or leave it out"


class TopicMissingError(TerminalError):
    """A topic that a pipeline reads does not exist."""

    message = (
        "pipeline {pipeline!r}: its source {topic!r} does not exist on {bootstrap}; correct the source, or create it: "
        "`microbatch kafka topics --create --topic {topic}`"
    )


class TopicNotCreatedError(TransientError):
    """Kafka refuses to create a topic."""

    message = "topic {topic!r} could not be created ({reason}); create it by hand, or allow the role to"


# -- the ledger --------------------------------------------------------------------------------------------


class SchemaTooNewError(TerminalError):
    """The ledger was migrated by a newer engine."""

    message = "the ledger has schema version {found}, this engine knows {known}; upgrade microbatch to use it"


class SchemaChangedError(TerminalError):
    """A migration that was applied is not the file that this engine has."""

    message = "migration {name} was applied with other contents; restore the file as released"


class DefinitionChangedError(TerminalError):
    """A pipeline registers with a definition that is not the ledger's."""

    message = (
        "pipeline {pipeline!r} is registered with another definition ({registered}, now {declared}); "
        "what differs: {difference}. Undo that, or {remedy}"
    )


class OldDefinitionError(TerminalError):
    """A task whose definition is no longer the ledger's wants to write."""

    message = (
        "pipeline {pipeline!r}: this task has definition {declared}, the ledger has {registered}; "
        "it wrote nothing. Run it again with the current DAG file"
    )


class SinkOwnedError(TerminalError):
    """A table or topic that another pipeline writes."""

    message = (
        "pipeline {pipeline!r}: the {kind} {name!r} belongs to pipeline {owner!r}; choose another name. "
        "If that is how this pipeline was called before, `microbatch rename OLD {pipeline}` keeps its ledger"
    )


class TableExistsError(TerminalError):
    """A table of that name is there, and no pipeline of ours made it."""

    message = "pipeline {pipeline!r}: table {table!r} exists and was not made by it; choose another name or drop it"


class RangeTakenError(TransientError):
    """Another batch has committed an overlapping range meanwhile; a new plan leaves it out."""

    message = (
        "{topic}: some of {ranges} was counted by another batch meanwhile; nothing of this one counts. Run it again"
    )


class TooManyRejectedError(TerminalError):
    """More of a batch is bad than bad data explains."""

    message = (
        "pipeline {pipeline!r}: {rejected} of {messages} messages in {ranges} were rejected, more than "
        "{allowed:.0%}; nothing was stored. First reason: {reason}. That looks like a changed producer: correct it or "
        "the event type, or let these messages go to the dead letters: `microbatch accept-rejects {pipeline}`"
    )


class PairsChangedError(TerminalError):
    """A redo found other events to pair than the batch had booked."""

    message = (
        "pipeline {pipeline!r}: batch {batch} would have other events to pair than when it was booked, and later pairs "
        "depend on them; nothing was changed. Pairs stay as they were published: redo an interval without this batch"
    )


class TransformFailedError(TerminalError):
    """A pipeline's own function over DataFrames cannot go on."""

    message = "pipeline {pipeline!r}: transform {function} {what}; nothing of the batch was stored. {remedy}"


# -- the source --------------------------------------------------------------------------------------------


class OtherClusterError(TerminalError):
    """Another Kafka cluster answers at the address."""

    message = (
        "pipeline {pipeline!r} was registered on Kafka cluster {registered}, but cluster {found} answers at "
        "{bootstrap}; nothing was read or sent. Correct bootstrap.servers; if this Kafka has taken the other one's "
        "place, `microbatch recover {pipeline}` shows what that means, and goes on with it"
    )


class TopicRecreatedError(TerminalError):
    """The source topic has another topic id than the ledger's."""

    message = (
        "pipeline {pipeline!r}: topic {topic!r} was deleted and created anew: its id is {found}, the ledger has "
        "{registered}; nothing was counted. `microbatch recover {pipeline}` goes on with the new one"
    )


class TopicTruncatedError(TerminalError):
    """A partition ends before what was already counted."""

    message = (
        "pipeline {pipeline!r}: {topic}[{partition}] ends at offset {high_watermark}, but {covered} is already "
        "counted: the log was truncated. Nothing was counted; `microbatch recover {pipeline}` goes on from its end"
    )


class OffsetsLostError(TerminalError):
    """Retention deleted messages that were not read."""

    message = (
        "{topic}[{partition}]: offsets {start}..{last} were deleted before they were read (low watermark "
        "{low_watermark}); nothing was counted. `microbatch accept-loss {pipeline}` goes on without them, on record; "
        "raise retention.ms of the topic, so that it does not happen again"
    )


class ReadFailedError(TransientError):
    """The broker refuses to give what a batch wants to read, although it is there."""

    message = "{topic}[{partition}] could not be read ({reason}); nothing of the batch counts. Look at the broker's log"


class ReadStalledError(TransientError):
    """The broker sent nothing for too long, although there is something to read."""

    message = "reading stalled: {positions} got nothing for {timeout_s:g} s; look at the broker's log"


class OpenTransactionError(TransientError):
    """An interval cannot be read to its end yet."""

    message = (
        "pipeline {pipeline!r}: {offsets} offsets of the interval cannot be read yet, from {first} on: another "
        "producer's transaction is open there. What was below it is stored; run it again when that has ended"
    )


class BatchDeletedError(TerminalError):
    """A batch is to be redone whose messages retention has deleted."""

    message = (
        "{topic}: batch {batch_id} cannot be redone: {range} was deleted below {low_watermark}; the batch stays as it "
        "is, and batches after it were not redone. Redo an interval that begins later"
    )


class BatchRetiredError(TerminalError):
    """A batch is to be redone whose log is no more."""

    message = (
        "{topic}: batch {batch_id} cannot be redone: it was read from a log that was truncated, or deleted and created "
        "anew; the batch stays as it is, and batches after it were not redone. Redo an interval that begins later"
    )


class BatchArchivedError(TerminalError):
    """A batch is to be redone that was folded into an archive."""

    message = (
        "{topic}: {what} cannot be redone: it is in the archive of batches {first} to {last}, read from "
        "{since} to {until}, of which single batches are not known any more. It stays as it is, and batches after it "
        "were not redone. Redo an interval that begins later, at {until} at the latest; Keep(contributions=…) of the "
        "pipeline says how long batches can be redone"
    )


class BatchShrunkError(TerminalError):
    """A batch is to be redone of which fewer messages are left than it has read."""

    message = (
        "{topic}: batch {batch_id} cannot be redone: {range} has {found} messages, it had {recorded}; compaction or "
        "a broker has lost the others. The batch stays as it is, and batches after it were not redone"
    )


# -- sending -----------------------------------------------------------------------------------------------


class CursorUnexplainedError(TerminalError):
    """The cursor in Kafka is neither what was marked as sent nor what was intended."""

    message = (
        "pipeline {pipeline!r}: group {group} has the cursor {found}, the ledger explains {known}; nothing was "
        "sent. Postgres or Kafka was restored or recreated, offsets were reset, or another deployment has the "
        "same name (set MICROBATCH_DEPLOYMENT then): `microbatch recover {pipeline}` shows which, and goes on"
    )


class RecoverRefusedError(TerminalError):
    """Cursor and ledger disagree, or the log is another one, and going on would count or send something twice."""

    message = "pipeline {pipeline!r} cannot be recovered like this: {reason}; nothing was changed. {remedy}"


class FencedError(TransientError):
    """Another process publishes this pipeline now."""

    message = "pipeline {pipeline!r}: another process took over {transactional_id}; it goes on with the outbox"


class SendFailedError(TransientError):
    """Kafka did not take a transaction."""

    message = (
        "pipeline {pipeline!r}: Kafka did not commit publications {first}..{last} ({reason}); they stay in the outbox"
    )


class MessagesRefusedError(TerminalError):
    """Messages were set aside because the broker refuses them."""

    message = (
        "pipeline {pipeline!r}: {count} messages were refused by the broker and set aside in "
        "microbatch.set_aside, the rest was sent. First: {first}. Raise max.message.bytes of the topic"
    )


# -- runs --------------------------------------------------------------------------------------------------


class RunParamsError(TerminalError):
    """What a person asks of a run cannot be meant."""

    message = "{param} of the run is {value!r}; {remedy}"


class ShardsFailedError(TerminalError):
    """`publish` has published what there is, and reports the shards that failed."""

    message = (
        "published what there is, but {failed} failed; clear or retry them: what they left is read by the next run"
    )
