"""A day's sales per seller: a table as Parquet, and a picture of them as PNG."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pandas as pd
import psycopg
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart by people who see colours otherwise, too (Okabe and Ito).
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
INK: Final = "#333333"
_QUERY: Final = """
    select
        seller_id,
        extract(hour from window_start at time zone 'UTC')::int as hour,
        sum(amount_usd)::bigint as amount_usd,
        sum(sales)::bigint as sales
    from aggregated_sales
    where window_start >= %(day)s::timestamp at time zone 'UTC'
        and window_start < (%(day)s::timestamp + interval '1 day') at time zone 'UTC'
    group by 1, 2
    order by 1, 2
"""


class Report(msgspec.Struct, frozen=True):
    """The files of a report, and what it sums up."""

    table: Path
    picture: Path
    amount_usd: int
    sales: int

    def describe(self) -> str:
        """One line for people."""
        return f"{self.amount_usd:,} USD in {self.sales:,} sales: {self.table} and {self.picture}"


def make_report(day: date, dsn: str, folder: Path) -> Report:
    """Write the report of a day (UTC), in place of an earlier one.

    Args:
        day: which.
        dsn: a connection string to the warehouse.
        folder: gets `<day>.parquet`, a row for each seller (seller_id, sales, amount_usd, mean_usd), and `<day>.png`.
    """
    hours = sales_by_hour(day, dsn)
    sellers = by_seller(hours)
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(
        folder / f"{day}.parquet", folder / f"{day}.png", int(hours["amount_usd"].sum()), int(hours["sales"].sum())
    )
    # Readers see the old file or the new one.
    unfinished = folder / f".{day}.unfinished"
    sellers.to_parquet(unfinished, index=False)
    unfinished.replace(report.table)
    picture(day, hours, sellers).savefig(unfinished, format="png", dpi=150)
    unfinished.replace(report.picture)
    return report


def sales_by_hour(day: date, dsn: str) -> pd.DataFrame:
    """A row for each seller and hour of a day that has results: seller_id, hour, amount_usd, sales."""
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(_QUERY, {"day": day})
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or []])


def by_seller(hours: pd.DataFrame) -> pd.DataFrame:
    """A row for each seller: seller_id, sales, amount_usd, mean_usd; the one who sold most comes first."""
    sellers = hours.groupby("seller_id", as_index=False)[["sales", "amount_usd"]].sum()
    sellers["mean_usd"] = (sellers["amount_usd"] / sellers["sales"]).round(2)
    return sellers.sort_values(["amount_usd", "seller_id"], ascending=[False, True], ignore_index=True)


def picture(day: date, hours: pd.DataFrame, sellers: pd.DataFrame) -> Figure:
    """Sales of the day hour by hour, and in total, per seller."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    by_hour, in_total = figure.subplots(1, 2, width_ratios=[2.4, 1])
    figure.suptitle(_headline(day, hours), x=0.015, ha="left", fontsize=14, fontweight="bold", color=INK)
    colours = {seller: COLOURS[n % len(COLOURS)] for n, seller in enumerate(sellers["seller_id"])}
    _draw_hours(by_hour, hours, colours)
    _draw_totals(in_total, sellers, colours)
    return figure


def _headline(day: date, hours: pd.DataFrame) -> str:
    if hours.empty:
        return f"Sales of {day:%A, %d %B %Y}: none"
    sums = f"{hours['amount_usd'].sum():,} USD in {hours['sales'].sum():,} sales"
    return f"Sales of {day:%A, %d %B %Y}: {sums}"


def _draw_hours(axes: "Axes", hours: pd.DataFrame, colours: dict[str, str]) -> None:
    """Columns of the hours, the sellers on top of each other, the best one at the bottom."""
    amounts = hours.pivot_table(index="hour", columns="seller_id", values="amount_usd", aggfunc="sum", fill_value=0)
    amounts = amounts.reindex(range(24), fill_value=0)
    below = pd.Series(0, index=amounts.index)
    for seller, colour in colours.items():
        axes.bar(amounts.index, amounts[seller], 0.82, below, color=colour, label=seller, edgecolor="white", lw=0.5)
        below += amounts[seller]
    _plain(axes, "USD per hour (UTC)")
    axes.set_xlim(-0.6, 23.6)
    axes.set_xticks(range(0, 24, 3), [f"{hour:02}:00" for hour in range(0, 24, 3)])
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.grid(axis="y", color="#e5e5e5", lw=0.8)


def _draw_totals(axes: "Axes", sellers: pd.DataFrame, colours: dict[str, str]) -> None:
    """A bar for each seller, the best one on top, with its numbers beside it."""
    bars = axes.barh(sellers["seller_id"], sellers["amount_usd"], 0.6, color=list(colours.values()))
    texts = [
        f"{amount:,}\n{count:,} sales, mean {mean:.2f}" for _, count, amount, mean in sellers.itertuples(index=False)
    ]
    axes.bar_label(bars, texts, padding=5, fontsize=8.5, color=INK)
    _plain(axes, "USD per seller")
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.45)


def _plain(axes: "Axes", title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_axisbelow(True)
