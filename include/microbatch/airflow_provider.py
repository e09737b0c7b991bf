"""What Airflow learns of this package: how OpenLineage names the assets of `microbatch.airflow_assets`."""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """As Airflow's entry point `apache_airflow_provider` wants it."""
    return {
        "package-name": "microbatch",
        "name": "microbatch",
        "description": "Windowed aggregates from Kafka to Postgres, exactly once.",
        "asset-uris": [
            {
                "schemes": ["x-kafka"],
                "handler": None,
                "to_openlineage_converter": "microbatch.airflow_lineage.topic_dataset",
            },
            {
                "schemes": ["x-postgres"],
                "handler": None,
                "to_openlineage_converter": "microbatch.airflow_lineage.table_dataset",
            },
        ],
    }
