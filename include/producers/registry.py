"""All demo producers by name. A new one is a generator, a line here, and a file in `dags/`."""

from typing import Final

import msgspec

from producers.message import Generator
from producers.sales import sale


class Producer(msgspec.Struct, frozen=True):
    """A generator and the topic that its events go to."""

    name: str
    topic: str
    generator: Generator


PRODUCERS: Final = {producer.name: producer for producer in (Producer("sales", "sales-usd", sale),)}
