"""All demo producers by name. A new one is a module that makes good events, a line here, and a file in `dags/`."""

from typing import Final

from producers.base import Producer
from producers.logins import logins
from producers.number_pairs import number_pairs
from producers.orders import orders
from producers.sales import sales
from producers.weather import weather

PRODUCERS: Final[dict[str, Producer]] = {
    producer.name: producer for producer in (orders, number_pairs, sales, logins, weather)
}
