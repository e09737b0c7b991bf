"""Spark structured streaming over the topic's present messages: a tumbling window, in a local cluster.

What favours it: as many tasks as there are cores, one partition of state for the few keys, one batch for
everything that is there, no web page, no result to store.
"""

import json
import os
import tempfile

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

SETTINGS = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.session.timeZone": "UTC",
}


def main() -> None:
    """Sum the sales of each seller and minute."""
    builder = SparkSession.builder
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", os.environ["KAFKA_BOOTSTRAP_SERVERS"])
        .option("subscribe", os.environ["BENCH_TOPIC"])
        .option("startingOffsets", "earliest")
        .load()
    )
    sale = f.from_json(f.col("value").cast("string"), "seller_id string, amount_usd bigint, sale_ts bigint")
    sums = (
        messages.select(sale.alias("sale"))
        .select("sale.*", f.timestamp_seconds("sale.sale_ts").alias("sold_at"))
        .groupBy("seller_id", f.window("sold_at", "1 minute"))
        .agg(f.sum("amount_usd").alias("amount_usd"), f.count("*").alias("sales"))
    )
    with tempfile.TemporaryDirectory(prefix="microbatch-bench-spark-") as folder:
        writer = sums.writeStream.format("memory").queryName("sums").outputMode("complete")
        writer.option("checkpointLocation", folder).trigger(availableNow=True).start().awaitTermination()
        rows = spark.sql("select seller_id, unix_timestamp(window.start), amount_usd, sales from sums").collect()
    spark.stop()
    print(json.dumps({f"{seller} {started_s}": [amount, sales] for seller, started_s, amount, sales in rows}))


if __name__ == "__main__":
    main()
