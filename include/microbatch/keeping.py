"""How long a pipeline keeps what it no longer needs for its newest results."""

from datetime import timedelta

import msgspec


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is kept; None: for ever. Offsets, newest results and keys of `unique` are always kept.

    Attributes:
        contributions: how long a batch can be redone. Older ones are folded into archives, which give the same totals.
        history: how long a revision is kept that holds no more.
        rows: how long rows stay in the table of the stream.
    """

    contributions: timedelta | None = timedelta(days=90)
    history: timedelta | None = None
    rows: timedelta | None = None
