"""The command `produce`; the command line registers the function."""

from typing import Annotated

import typer

from microbatch.settings import KAFKA_BOOTSTRAP_SERVERS
from producers.pacing import Pace, steady

BURST = 1000
RATE = 10.0


def produce(
    name: Annotated[str, typer.Argument(help='Which events, such as "sales".')],
    count: Annotated[int | None, typer.Option(min=1, help=f"How many; a burst of {BURST} if nothing is given.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.1, help="Events a second; a burst has no limit.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help=f"How long, at {RATE:g} a second or --rate.")] = None,
    bad_share: Annotated[float, typer.Option(min=0, max=1, help="Share of bad events.")] = 0.02,
    seed: Annotated[int | None, typer.Option(help="Makes the same choices again.")] = None,
) -> None:
    """Send demo events, with the time at which they are sent: a burst, or at a rate for some seconds."""
    # Imported here, so that `microbatch --help` answers at once.
    from rich.progress import Progress  # noqa: PLC0415

    from producers.registry import PRODUCERS  # noqa: PLC0415
    from producers.sending import send  # noqa: PLC0415

    if name not in PRODUCERS:
        raise typer.BadParameter(f"no producer {name!r}; there are: {', '.join(PRODUCERS)}", param_hint="NAME")
    producer, pace, kafka = PRODUCERS[name], _pace(count, rate, seconds), _kafka()
    with Progress() as bar:
        task = bar.add_task(f"{name} to {producer.topic}", total=pace.total)
        sent = send(
            producer, kafka, pace, bad_share=bad_share, seed=seed, progress=lambda n: bar.update(task, completed=n)
        )
    typer.echo(f"{sent:,} events sent to topic {producer.topic}")


def _pace(count: int | None, rate: float | None, seconds: float | None) -> Pace:
    if seconds is None:
        return Pace(count or BURST, rate)
    if count is not None:
        raise typer.BadParameter("give --count or --seconds, not both", param_hint="--count")
    return steady(rate or RATE, seconds)


def _kafka() -> dict[str, str]:
    from microbatch.addresses import find_stack  # noqa: PLC0415
    from microbatch.errors import SettingMissingError  # noqa: PLC0415

    found = find_stack()
    if KAFKA_BOOTSTRAP_SERVERS not in found:
        raise SettingMissingError(
            setting=KAFKA_BOOTSTRAP_SERVERS, remedy="start the embedded stack (`make up`), or set it yourself"
        )
    return {"bootstrap.servers": found[KAFKA_BOOTSTRAP_SERVERS]}
