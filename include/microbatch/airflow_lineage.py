"""Our assets as OpenLineage names data: with addresses, which the assets leave to Airflow's connections.

https://openlineage.io/docs/spec/naming has the rules. Airflow's OpenLineage provider asks, inside a task.
"""

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow.sdk import Asset

from microbatch.airflow_connections import POSTGRES, kafka_settings, postgres_conninfo

if TYPE_CHECKING:
    from openlineage.client.event_v2 import Dataset  # who does not use OpenLineage does not have it

_KAFKA_PORT: Final = "9092"
_POSTGRES_PORT: Final = "5432"


def topic_dataset(asset: Asset, _lineage_context: Any) -> "Dataset":
    """A topic: `kafka://host:port` of the first bootstrap server, and its name."""
    from openlineage.client.event_v2 import Dataset  # noqa: PLC0415

    first = kafka_settings()["bootstrap.servers"].split(",")[0].strip()
    server = first if ":" in first else f"{first}:{_KAFKA_PORT}"
    return Dataset(namespace=f"kafka://{server}", name=_path(asset)[-1])


def table_dataset(asset: Asset, _lineage_context: Any) -> "Dataset":
    """A table: `postgres://host:port`, and `database.schema.table`."""
    from openlineage.client.event_v2 import Dataset  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    at = conninfo_to_dict(postgres_conninfo(POSTGRES))
    schema, table = _path(asset)
    return Dataset(
        namespace=f"postgres://{at['host']}:{at.get('port', _POSTGRES_PORT)}", name=f"{at['dbname']}.{schema}.{table}"
    )


def _path(asset: Asset) -> list[str]:
    return urlsplit(asset.uri).path.strip("/").split("/")
