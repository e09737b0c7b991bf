"""What is printed at the end, and kept as JSON."""

from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from faults.headline.plan import ANY_TIME, POINTS, SIGNALS
from faults.headline.story import Ending

_SHOWN: Final = 20


def show(ending: Ending, console: Console) -> None:
    """The table of signals per step, and the verdict."""
    order, verdict = ending.order, ending.verdict
    counted = ", ".join(f"{name} {count:,}" for name, count in ending.messages.items())
    total = sum(ending.messages.values())
    console.print(f"\nseed {order.seed}, {ending.seconds:.0f} s")
    console.print(f"{total:,} messages: {counted}; {ending.outputs:,} messages out", soft_wrap=True)
    console.print(_table(ending))
    if ending.deaths:
        console.print(f"ended by signals that nobody had sent: {', '.join(ending.deaths)}", soft_wrap=True)
    console.print(
        f"lost {len(verdict.lost)}  twice {len(verdict.twice)}  out of order {len(verdict.out_of_order)}"
        f"  otherwise wrong {len(verdict.otherwise) + len(ending.troubles)}"
    )
    for name, texts in _differences(ending).items():
        for text in texts[:_SHOWN]:
            console.print(f"  {name}: {text}", soft_wrap=True, markup=False)
        if len(texts) > _SHOWN:
            console.print(f"  {name}: … and {len(texts) - _SHOWN} more")


def as_json(ending: Ending) -> dict[str, Any]:
    """The same, to be kept."""
    return {
        "seed": ending.order.seed,
        "seconds": round(ending.seconds),
        "good": ending.is_good,
        "messages": ending.messages,
        "outputs": ending.outputs,
        "deaths": ending.deaths,
        "signals": {step: _signals(ending, step) for step in _steps(ending)},
        **_differences(ending),
    }


def _differences(ending: Ending) -> dict[str, list[str]]:
    verdict = ending.verdict
    return {
        "lost": verdict.lost,
        "twice": verdict.twice,
        "out of order": verdict.out_of_order,
        "otherwise": [*verdict.otherwise, *ending.troubles],
    }


def _table(ending: Ending) -> Table:
    table = Table("step", box=SIMPLE_HEAD)
    for name in ("SIGKILL", "SIGSTOP"):
        table.add_column(name, justify="right")
    for step in _steps(ending):
        table.add_row(step, *map(str, _signals(ending, step).values()))
    table.add_section()
    sums = [sum(n for (_, sent), n in ending.hits.items() if sent == signal) for signal in SIGNALS]
    table.add_row(f"all {sum(sums)}", *map(str, sums))
    return table


def _signals(ending: Ending, step: str) -> dict[str, int]:
    return {signal: ending.hits.get((step, signal), 0) for signal in SIGNALS}


def _steps(ending: Ending) -> list[str]:
    """Every crash point, hit or not, then what else was hit."""
    steps = [*POINTS, ANY_TIME]
    return [*steps, *sorted({step for step, _ in ending.hits} - set(steps))]
