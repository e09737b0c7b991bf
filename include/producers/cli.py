"""The command `produce`; the command line registers the function."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

# What takes time to import is imported when the command runs, so that `microbatch --help` answers at once.
if TYPE_CHECKING:
    from producers.base import Producer, Shares
    from producers.message import Message

BURST = 1000


def produce(  # noqa: PLR0913 - each is an option
    name: Annotated[str, typer.Argument(help='Which events, such as "sales".')],
    *,
    count: Annotated[
        int | None, typer.Option(min=1, help=f"How many; if nothing is given {BURST}, or each line of --file once.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Events a second; a burst has no limit.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long, at the usual rate or --rate.")] = None,
    bad_share: Annotated[float | None, typer.Option(min=0, max=1, help="Share of bad events.")] = None,
    late_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of events of up to three minutes ago.")
    ] = None,
    duplicate_share: Annotated[float | None, typer.Option(min=0, max=1, help="Share of events sent twice.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes the same choices again.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Orders to replay from the first line on: as they are, unless shares are given.")
    ] = None,
) -> None:
    """Send demo events, with the time at which they are sent: a burst, or at a rate for some seconds."""
    from microbatch.clock import Clock  # noqa: PLC0415
    from producers.base import messages  # noqa: PLC0415
    from producers.pacing import steady  # noqa: PLC0415

    if seconds is not None and count is not None:
        raise typer.BadParameter("give --count or --seconds, not both", param_hint="--count")
    producer, lines = (_named(name), None) if file is None else _replay(name, file)
    total = count or lines or BURST
    if seconds is not None:
        rate = rate or producer.rate_per_second
        total = steady(rate, seconds).total
    shares = _shares(producer, lines is None, bad=bad_share, late=late_share, duplicate=duplicate_share)
    events = messages(producer, shares, iter(Clock().now, None), seed, first=None if lines is None else 0)
    sent = _send(producer, itertools.islice(events, total), total, rate)
    typer.echo(f"{sent:,} messages sent to topic {producer.topic}")


def _named(name: str) -> "Producer":
    from producers.registry import PRODUCERS  # noqa: PLC0415

    if name not in PRODUCERS:
        raise typer.BadParameter(f"no producer {name!r}; there are: {', '.join(PRODUCERS)}", param_hint="NAME")
    return PRODUCERS[name]


def _replay(name: str, file: Path) -> "tuple[Producer, int]":
    """A producer of the orders in a file, and how many they are."""
    import msgspec  # noqa: PLC0415

    from producers.order_file import read_orders  # noqa: PLC0415
    from producers.orders import orders, replay  # noqa: PLC0415

    if _named(name) is not orders:
        raise typer.BadParameter(f"only orders are replayed from a file, not {name}", param_hint="--file")
    found = read_orders(file)
    for complaint in found.complaints:
        typer.echo(complaint, err=True)
    return msgspec.structs.replace(orders, good=replay(found.orders)), len(found.orders)


def _shares(producer: "Producer", has_usual: bool, **given: float | None) -> "Shares":
    import msgspec  # noqa: PLC0415

    from producers.base import Shares, usual_shares  # noqa: PLC0415

    if given["late"] is not None and not producer.has_event_time:
        raise typer.BadParameter(
            f"events of {producer.name} have no time of their own, so none can be late", param_hint="--late-share"
        )
    asked = {name: share for name, share in given.items() if share is not None}
    return msgspec.structs.replace(usual_shares(producer) if has_usual else Shares(), **asked)


def _send(producer: "Producer", events: "Iterator[list[Message]]", total: int, rate: float | None) -> int:
    from rich.progress import Progress  # noqa: PLC0415

    from producers.pacing import Pace  # noqa: PLC0415
    from producers.sending import send, send_at_once  # noqa: PLC0415

    kafka = _kafka()
    # Drawing costs more than sending at a demo's rate: so twice a second, not ten times.
    with Progress(refresh_per_second=2) as bar:
        task = bar.add_task(f"{producer.name} to {producer.topic}", total=total)

        def show(sent: int) -> None:
            bar.update(task, completed=sent)

        if rate is None:
            return send_at_once(producer.topic, kafka, events, show)
        return send(producer.topic, kafka, events, Pace(total, rate), progress=show)


def _kafka() -> dict[str, str]:
    from microbatch.addresses import find_stack  # noqa: PLC0415
    from microbatch.cli_data import kafka_at  # noqa: PLC0415

    return kafka_at(find_stack()).kafka
