"""The mock of the weather API as a process of the stack."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from free_ports import random_free
from local import process, stack, weather_api
from local.credentials import Credentials, load_credentials
from local.home import prepare
from local.ports import HOST


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a running mock and nothing else."""
    folder = tmp_path_factory.mktemp("stack")
    for name in ("run", "log"):
        (folder / name).mkdir()
    weather_api.wait_for_weather_api(weather_api.start_weather_api(folder, random_free(), load_credentials(folder)))
    yield folder
    process.stop(folder, weather_api.COMPONENT)


@pytest.fixture
def record(home: Path) -> process.Record:
    found = process.load(home, weather_api.COMPONENT)
    assert found is not None
    return found


def test_it_answers_to_the_key_of_the_stack_and_to_no_other(home: Path, record: process.Record) -> None:
    found = weather_api.weather_variables(record.port or 0, load_credentials(home), {})
    question = f"{found['OPENWEATHERMAP_URL']}/data/2.5/weather?q=Paris&appid="

    with urllib.request.urlopen(question + found["OPENWEATHERMAP_API_KEY"], timeout=60) as answer:  # noqa: S310
        assert json.load(answer)["name"] == "Paris"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(question + Credentials().weather_api_key, timeout=60)  # noqa: S310


def test_the_key_is_neither_in_the_process_list_nor_in_the_log(home: Path, record: process.Record) -> None:
    key = load_credentials(home).weather_api_key
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{HOST}:{record.port}/data/2.5/weather?q=Atlantis&appid={key}", timeout=60)

    assert key not in " ".join(psutil.Process(record.pid).cmdline())
    assert key not in Path(record.log).read_text(encoding="utf-8")


def test_it_listens_on_the_loopback_address_and_gets_no_other_secret(home: Path, record: process.Record) -> None:
    leader = psutil.Process(record.pid)
    secrets = set(load_credentials(home).__struct_fields__) - {"weather_api_key"}

    assert {found.laddr for found in leader.net_connections("tcp")} == {(HOST, record.port)}
    environment = " ".join(leader.environ().values())
    assert not [name for name in secrets if getattr(load_credentials(home), name) in environment]


def test_the_status_has_it_between_the_data_and_airflow(home: Path, record: process.Record) -> None:
    found = stack.status(home)

    assert [health.component for health in found][:3] == ["postgres", "kafka", "weather-api"]
    assert (found[2].state, found[2].port, found[2].pid) == ("running", record.port, record.pid)


def test_where_nobody_listens_it_is_not_ready(record: process.Record) -> None:
    free = random_free()

    assert weather_api.unready(record.port or 0) is None
    assert f"{HOST}:{free} does not answer" in str(weather_api.unready(free))


def test_down_stops_it(tmp_path: Path) -> None:
    home = prepare(tmp_path / "state")
    record = weather_api.start_weather_api(home, random_free(), load_credentials(home))
    weather_api.wait_for_weather_api(record)
    said: list[str] = []

    stack.down(home, said.append)

    assert said == ["weather-api: stopped"]
    assert not process.is_alive(record)
