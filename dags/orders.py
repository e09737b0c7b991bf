"""Orders: what was ordered per country in each minute.

`produce_orders` replays the orders of a file to `orders`. Seconds after a minute has ended, its sums per country stand
in the table `processed_orders` and on the topic `processed-orders`. Amounts are exact to the cent.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

from microbatch import Count, Event, KafkaTopic, Pipeline, PostgresTable, Scale, Stream, Sum, TumblingWindow
from microbatch.airflow import as_dag, every_minute


class Order(Event):
    """An order, as it arrives on `orders`; `country` is a code of ISO 3166, such as DE."""

    order_id: str
    country: Annotated[str, Meta(pattern=r"\A[A-Z]{2}\Z")]
    amount: Annotated[Decimal, Scale(2)]
    ordered_at: datetime


orders = Pipeline(
    name="orders",
    description="The amount and the number of orders per country and minute.",
    source=KafkaTopic("orders", Order, event_time="ordered_at"),
    outputs=[
        Stream(reject={"amount is not positive": "amount <= 0"}),
        TumblingWindow(
            "1 minute",
            by=["country"],
            measures={"amount": Sum("amount"), "orders": Count()},
            to=[PostgresTable("processed_orders"), KafkaTopic("processed-orders")],
        ),
    ],
)

dag = as_dag(orders, schedule=every_minute)
