"""Errors: facts in, text out; terminal or transient; they survive a process border."""

import pickle
import re
import string
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from microbatch import errors
from microbatch.errors import MicrobatchError, TerminalError, TransientError


def subclasses(kind: type[MicrobatchError]) -> list[type[MicrobatchError]]:
    return [found for each in kind.__subclasses__() for found in (each, *subclasses(each))]


MARKERS = (TerminalError, TransientError)
ALL = [
    kind
    for kind in subclasses(MicrobatchError)
    if kind.__module__.partition(".")[0] == "microbatch" and kind not in MARKERS
]
ENDED_BY: Final = {
    errors.CursorUnexplainedError: "recover",
    errors.OtherClusterError: "recover",
    errors.TopicRecreatedError: "recover",
    errors.TopicTruncatedError: "recover",
    errors.OffsetsLostError: "accept-loss",
    errors.TooManyRejectedError: "accept-rejects",
    errors.SinkOwnedError: "rename OLD",
    errors.TopicMissingError: "kafka topics --create --topic",
}
"""Errors that stop a pipeline until a person decides, and the command that ends them; a test runs it for each."""

CORRECTED: Final = {
    errors.SchemaTooNewError: "upgrade",
    errors.SchemaChangedError: "restore the file",
    errors.DefinitionChangedError: "Undo that",
    errors.TableExistsError: "choose another name",
    errors.TransformFailedError: "{remedy}",
    errors.KafkaRefusedError: "give it the rights",
    errors.KafkaSettingsError: "correct the extra",
    errors.SchemaRegistryRefusedError: "Correct address, login and password",
    errors.SchemaRegistrySettingsError: "correct the extra",
    errors.ValueFormatError: "pip install",
    errors.ConnectionStringError: "write it as",
    errors.SessionSharedError: "set `pool_mode = session`",
    errors.SettingMissingError: "{remedy}",
    errors.SettingWrongError: "write it as",
}
"""Errors that stop one until a file, a setting or a right is corrected, which no command can do."""

HARMLESS: Final = {
    errors.OldDefinitionError,
    errors.PairsChangedError,
    errors.BatchDeletedError,
    errors.BatchRetiredError,
    errors.BatchArchivedError,
    errors.BatchShrunkError,
    errors.MessagesRefusedError,
    errors.RunParamsError,
    errors.ShardsFailedError,
}
"""Errors of one run, or of one redo, after which others go on."""

OF_COMMANDS: Final = {
    errors.DeclarationError,
    errors.UnknownFieldError,
    errors.PipelineNotFoundError,
    errors.DagFileError,
    errors.CheckoutNeededError,
    errors.RenameRefusedError,
    errors.NewPipelineRefusedError,
    errors.TopicUnknownError,
    errors.StatementError,
    errors.ExportRefusedError,
    errors.PsqlMissingError,
    errors.NotRegisteredError,
    errors.ResultUnknownError,
    errors.NotDecidedError,
    errors.RecoverRefusedError,
    errors.RebuildRefusedError,
}
"""Errors of a command or a declaration."""

every_error = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


def facts_of(kind: type[MicrobatchError]) -> dict[str, Any]:
    """A value for each name in its text, of a type that the format asks for."""
    found: dict[str, Any] = {}
    for _, name, form, _ in string.Formatter().parse(kind.message):
        if name:
            found[name] = 0.5 if form else f"the {name}"
    return found


@every_error
def test_it_says_all_its_facts_in_one_line(kind: type[MicrobatchError]) -> None:
    facts = facts_of(kind)
    text = str(kind(**facts))

    assert facts
    assert "\n" not in text
    assert "{" not in text
    assert all(value in text for value in facts.values() if isinstance(value, str))


@every_error
def test_it_is_the_same_after_pickling(kind: type[MicrobatchError]) -> None:
    error = kind(**facts_of(kind))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(again) is kind
    assert (str(again), again.facts, again.args) == (str(error), error.facts, error.args)


@every_error
def test_it_is_either_terminal_or_transient(kind: type[MicrobatchError]) -> None:
    assert issubclass(kind, TerminalError) != issubclass(kind, TransientError)


@every_error
def test_it_is_named_and_explained(kind: type[MicrobatchError]) -> None:
    assert kind.__name__.endswith("Error")
    assert kind.__doc__
    assert kind.__doc__ != kind.__mro__[1].__doc__


@every_error
def test_a_terminal_one_says_what_to_do(kind: type[MicrobatchError]) -> None:
    """Its text goes on after the fact: with a remedy, or with what the caller gives as one."""
    if issubclass(kind, TerminalError):
        assert any(mark in kind.message for mark in ("; ", ". ", ": "))


@every_error
def test_one_that_stops_a_pipeline_names_the_command_that_ends_it(kind: type[MicrobatchError]) -> None:
    """Those of commands and declarations, which no run raises, need none."""
    if kind in ENDED_BY:
        assert f"`microbatch {ENDED_BY[kind]} {{" in kind.message
    elif kind in CORRECTED:
        assert CORRECTED[kind] in kind.message
    elif kind not in HARMLESS:
        assert issubclass(kind, TransientError) or kind in OF_COMMANDS


@every_error
def test_it_is_raised_somewhere(kind: type[MicrobatchError]) -> None:
    source = Path(errors.__file__).parent
    raised = re.compile(rf"\b(raise|return|or) {kind.__name__}\(")
    used = [file for file in source.glob("*.py") if raised.search(file.read_text())]

    assert used, f"nothing raises {kind.__name__}"


def test_all_errors_stand_in_one_module() -> None:
    assert {kind.__module__ for kind in ALL} == {"microbatch.errors"}


def test_a_text_says_object_value_and_remedy() -> None:
    error = errors.OffsetsLostError(
        pipeline="sales", topic="sales-usd", partition=3, start=1200, last=4711, low_watermark=4712
    )

    assert str(error) == (
        "sales-usd[3]: offsets 1200..4711 were deleted before they were read (low watermark 4712); nothing was "
        "counted. `microbatch accept-loss sales` goes on without them, on record; raise retention.ms of the topic, so "
        "that it does not happen again"
    )


def test_facts_are_kept_as_they_were() -> None:
    topic_id = UUID("6f1c6f2e-0000-4000-8000-000000000001")
    error = errors.TopicRecreatedError(pipeline="p", topic="t", found=topic_id, registered="none")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert again.facts == {"pipeline": "p", "topic": "t", "found": topic_id, "registered": "none"}


def test_braces_in_a_value_are_shown_as_they_are() -> None:
    error = errors.DeclarationError(pipeline="{x}", what="{0}", remedy="{}")

    assert str(error) == "pipeline '{x}': {0}; {}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


def test_a_missing_fact_is_a_mistake_in_the_engine() -> None:
    with pytest.raises(KeyError, match="topic"):
        errors.TopicMissingError(bootstrap="b", pipeline="p")
