"""Files of orders, one JSON object a line: `{"order_id": "A000001", "country": "DE", "amount": 12.34}`."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import msgspec

from microbatch.errors import TerminalError

# So many bad lines are named one by one.
NAMED: Final = 10
_CENT: Final = Decimal("0.01")
_LIMIT: Final = Decimal(10**15)


class OrderFileUnreadableError(TerminalError):
    """A file of orders cannot be read."""

    message = "orders cannot be read from {path}: {reason}; name another file with --file or ORDERS_FILE"


class NoOrdersError(TerminalError):
    """A file of orders has not one good line."""

    message = (
        "{path} has no order among its {bad} lines that are not blank{first}; "
        'a line is such as {{"order_id": "A000001", "country": "DE", "amount": 12.34}}'
    )


class Order(msgspec.Struct, frozen=True):
    """A good line.

    Attributes:
        fields: exactly as they stand there, those that nobody knows included.
    """

    country: str
    fields: dict[str, msgspec.Raw]


class OrderFile(msgspec.Struct, frozen=True):
    """What a file says.

    Attributes:
        orders: of its good lines, in their order; at least one.
        complaints: a line each about the first bad lines, then one about how many more there are.
    """

    orders: list[Order]
    complaints: list[str]


class _Line(msgspec.Struct, frozen=True):
    order_id: str
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z")]
    amount: Decimal


_as_line: Final = msgspec.json.Decoder(_Line).decode
_as_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_orders(path: Path) -> OrderFile:
    """Read a file of orders; blank lines are nothing, bad lines are complained about.

    Raises:
        OrderFileUnreadableError: there is no such file, or it is no file.
        NoOrdersError: it has no good line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise OrderFileUnreadableError(path=path, reason=error.strerror or error) from error
    orders, named, bad = [], [], 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            orders.append(_order(line))
        except (ValueError, RecursionError) as error:
            bad += 1
            if bad <= NAMED:
                named.append(f"{path}, line {number} is skipped: {error}")
    if not orders:
        raise NoOrdersError(path=path, bad=bad, first=f" (first: {named[0]})" if named else "")
    if bad > NAMED:
        named.append(f"{path}: {bad - NAMED:,} more bad lines are skipped")
    return OrderFile(orders, named)


def _order(line: bytes) -> Order:
    order = _as_line(line)
    if not order.amount.is_finite() or not 0 < order.amount < _LIMIT or order.amount.quantize(_CENT) != order.amount:
        got = str(order.amount)[:40]
        raise ValueError(f"Expected an amount above 0 with at most two decimals, got {got} - at `$.amount`")
    return Order(order.country, _as_fields(line))
