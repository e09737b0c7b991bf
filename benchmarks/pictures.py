"""Pictures of results, for the documentation."""

from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Told apart by people who see colours otherwise, too (Okabe and Ito).
COLOURS: Final = ("#999999", "#e69f00", "#0072b2", "#d55e00", "#009e73")
INK: Final = "#333333"


def draw(path: Path, lines: dict[str, dict[int, float]]) -> None:
    """Draw CPU seconds over messages, a line for each contestant.

    Args:
        path: of the PNG.
        lines: CPU seconds by number of messages, by contestant.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for (name, points), colour in zip(lines.items(), COLOURS, strict=True):
        axes.plot(list(points), list(points.values()), color=colour, marker="o", linewidth=2)
        last = max(points)
        axes.annotate(name, (last, points[last]), (8, 0), textcoords="offset points", color=colour, va="center")
    axes.set_title("CPU seconds of a whole run", loc="left", color=INK)
    axes.set_xlabel("messages", color=INK)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number / 1e6:g} M"))
    most = max(max(points) for points in lines.values())
    axes.set_xlim(0, most * 1.4)
    axes.set_xticks([point for points in list(lines.values())[:1] for point in (0, *points)])
    axes.set_ylim(0)
    axes.grid(axis="y", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
