"""What can go wrong while the embedded stack starts, runs or stops."""

from microbatch.errors import TerminalError, TransientError


class StackError(TerminalError):
    """The embedded stack cannot do what was asked; a person has to act."""


class PlatformError(StackError):
    """The machine lacks something that the stack needs."""

    message = "{what}; {remedy}"


class PortError(StackError):
    """A port variable that is no port, or no port left."""

    message = "{what}; set {variable} to a free port between 1024 and 65535"


class StateDamagedError(StackError):
    """A file of the state folder cannot be read."""

    message = "{file} cannot be read ({reason}); restore it, or start afresh with `make reset`"


class JarError(TransientError):
    """One of Kafka's jars could not be fetched, or is not the one that was locked."""

    message = "{coordinates}: {what}; {remedy}"


class ComponentDiedError(StackError):
    """A component ended while somebody waited for it."""

    message = "{component} ended before it was ready; its log {log} ends with:\n{tail}"


class ComponentSlowError(StackError):
    """A component is running, but does not answer in time."""

    message = "{component} did not answer within {timeout_s:g} s ({reason}); its log {log} ends with:\n{tail}"


class CommandFailedError(StackError):
    """A one-off command of a component failed."""

    message = "{component}: `{command}` ended with status {status}:\n{output}"


class ComponentStuckError(StackError):
    """A component outlived even SIGKILL."""

    message = "{component}: processes {pids} are still there after SIGKILL; look at them with `ps -p {pids}`"


class StackNotRunningError(StackError):
    """Something needs the stack, and it is not there."""

    message = "the stack in {home} is not running; start it with `make up` (or `microbatch up --only stack`)"
