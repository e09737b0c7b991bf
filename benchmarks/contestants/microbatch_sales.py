"""The sales pipeline of `dags/sales.py`, declared with microbatch alone; consume and publish are two processes.

A DAG file imports Airflow too. The scheduler does that once, before it forks the processes of tasks, so it is no part
of what a run costs.
"""

from datetime import timedelta

from benchmarks.contestants.microbatch_task import work

from microbatch import Count, EpochSeconds, Event, KafkaTopic, Mean, Pipeline, PostgresTable, Sum, TumblingWindow


class Sale(Event):
    """A sale."""

    seller_id: str
    amount_usd: int
    sale_ts: EpochSeconds


def pipeline(topic: str) -> Pipeline:
    """What reads a topic of sales; table and topic of the results have its name with `sums`."""
    name = f"{topic}_sums"
    return Pipeline(
        name=name,
        # One run reads all, however slow the machine is.
        run_budget=timedelta(hours=1),
        source=KafkaTopic(topic, Sale, event_time="sale_ts"),
        outputs=[
            TumblingWindow(
                "1 minute",
                by=["seller_id"],
                measures={"amount_usd": Sum("amount_usd"), "sales": Count(), "mean_usd": Mean("amount_usd", scale=2)},
                to=[PostgresTable(name), KafkaTopic(name)],
            ),
        ],
    )


if __name__ == "__main__":
    work(pipeline)
