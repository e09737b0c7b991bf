"""Every error of this package. Facts go in, the text comes out."""


class RecountError(Exception):
    """What they have in common: a template and the facts that fill it."""

    def __init__(self, template: str, *facts: object) -> None:
        super().__init__(template.format(*facts))


class PipelineUnknownError(RecountError):
    """The ledger has no such pipeline."""


class UncountableError(RecountError):
    """A definition has something in it that this check cannot count."""


class InvalidError(RecountError):
    """A message is a reject; the text says why."""


class MalformedError(RecountError):
    """A message on a result topic does not have the promised format."""


class OffsetsPendingError(RecountError):
    """The broker does not say what a group has committed, because a transaction of it is open."""


class StalledError(RecountError):
    """The broker has not delivered what it said it has."""


class BusyError(RecountError):
    """There was no moment in which the pipeline was at rest."""


class DeletedError(RecountError):
    """Retention deleted messages that were about to be read."""
