"""Reading JSON of which every part must be known: what is left over was not understood, and is refused."""

from collections.abc import Mapping
from typing import Any, Final

from recount.errors import UncountableError

_MISSING: Final = object()


class Part:
    """One JSON object of a definition; each member is taken by its name, once."""

    def __init__(self, plain: Any, what: str) -> None:
        if not isinstance(plain, Mapping):
            raise UncountableError("{} is not a JSON object: {!a:.60}", what, plain)
        self.what = what
        self._left = dict(plain)

    def take(self, name: str, otherwise: Any = _MISSING) -> Any:
        """A member's value, or `otherwise` where it is absent.

        Raises:
            UncountableError: it is absent and must not be.
        """
        found = self._left.pop(name, otherwise)
        if found is _MISSING:
            raise UncountableError("{} has no {!r}", self.what, name)
        return found

    def known(self, name: str, known: tuple[str, ...]) -> str:
        """A member that says of what kind something is; one that this check cannot count is refused."""
        found = self.take(name)
        if found not in known:
            raise UncountableError(
                "{} is of {} {!r}; this check can count {}", self.what, name, found, ", ".join(known)
            )
        return str(found)

    def done(self) -> None:
        """Refuse what was not taken."""
        if self._left:
            raise UncountableError("{} has {}, which this check does not know", self.what, ", ".join(self._left))
