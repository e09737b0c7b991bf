"""Values that are not JSON become the JSON that has the same fields; all that comes after is as for JSON.

The client's own deserializers read them. What their fields become says docs/formats.md, section 5.
"""

from collections.abc import Callable, Mapping
from typing import Any

from microbatch.errors import SettingMissingError, ValueFormatError
from microbatch.outputs import KafkaTopic
from microbatch.settings import SCHEMA_REGISTRY_URL
from microbatch.value_formats import Avro

Translate = Callable[[bytes], bytes]
"""A value as JSON.

Raises:
    ValueError: it is none of its format, or its schema is unknown: the message is a reject.
    MicrobatchError: nothing can be said of it now, for the registry does not answer.
"""


def translator(source: KafkaTopic, settings: Mapping[str, Any]) -> Translate | None:
    """What translates the values of a source; None: they are JSON.

    Args:
        source: the topic.
        settings: of the registry's client; empty: nobody said where it is.

    Raises:
        SettingMissingError: a registry is needed, and nobody said where it is.
        SchemaRegistrySettingsError: the client does not take the settings.
        ValueFormatError: packages are missing that read the format.
    """
    if source.values is None:
        return None
    if not settings:
        raise SettingMissingError(
            setting=f"the schema registry of topic {source.name!r}",
            remedy="add Airflow's connection 'schema_registry_default' with its address as host, "
            f"or set {SCHEMA_REGISTRY_URL} where there is no Airflow",
        )
    # With these come packages that only those have who installed an extra.
    try:
        if isinstance(source.values, Avro):
            from microbatch.avro_values import AvroValues  # noqa: PLC0415

            return AvroValues(settings)
        from microbatch.protobuf_values import ProtobufValues  # noqa: PLC0415

        return ProtobufValues(source.values, settings)
    except ImportError as error:
        form = source.values.plain["format"]
        raise ValueFormatError(topic=source.name, form=form, module=error.name or error) from error
