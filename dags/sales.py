"""Sales: what each seller sold in each minute.

Shops publish their sales on `sales-usd`. Seconds after a minute has ended, its sums stand in the table
`aggregated_sales` and on the topic `aggregated-sales`; a sale that arrives later corrects them.
"""

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Mean, Pipeline, PostgresTable, Sum, TumblingWindow
from microbatch.airflow import as_dag, every_minute


class Sale(Event):
    """A sale, as shops publish it on `sales-usd`."""

    seller_id: str
    amount_usd: int
    sale_ts: EpochSeconds


sales = Pipeline(
    name="sales",
    description="The amount, the number and the mean of sales per seller and minute.",
    source=KafkaTopic("sales-usd", Sale, event_time="sale_ts"),
    outputs=[
        TumblingWindow(
            "1 minute",
            by=["seller_id"],
            measures={"amount_usd": Sum("amount_usd"), "sales": Count(), "mean_usd": Mean("amount_usd", scale=2)},
            to=[PostgresTable("aggregated_sales"), KafkaTopic("aggregated-sales")],
        ),
    ],
)

dag = as_dag(sales, schedule=every_minute)
