"""The pipeline logins, with no Kafka, Postgres or Airflow, and its settings."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from dag_files import declared
from microbatch.definition import definition, definition_hash
from microbatch.errors import SettingWrongError
from microbatch.testing import Outcome, run

# The event of the originals' readme.
LOGIN = {
    "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae",
    "app_version": "2.3.0",
    "device_type": "android",
    "ip": "199.172.111.135",
    "locale": "RU",
    "device_id": "593-47-5928",
    "timestamp": "1694479551",
}
LOGGED_IN = datetime(2023, 9, 12, 0, 45, 51, tzinfo=UTC)
AT = datetime(2023, 9, 12, 0, 46, 7, tzinfo=UTC)
TOO_OLD = "app version is too old"
pipeline = declared("logins")


def login(**changes: Any) -> dict[str, Any]:
    return {**LOGIN, **changes}


def reasons(outcome: Outcome) -> list[str]:
    return [reject.reason for reject in outcome.rejects]


def counts(outcome: Outcome) -> list[tuple[str, str, int]]:
    """Minute, device type, logins."""
    rows = outcome.results["device_type_count"]
    return [(f"{row['window_start']:%H:%M}", row["device_type"], row["logins"]) for row in rows]


def test_a_login_goes_on_with_the_batchs_time_and_its_own_in_utc() -> None:
    outcome = run(pipeline, [LOGIN], at=AT)

    assert outcome.rows == [
        {**LOGIN, "timestamp": 1694479551, "timestamp_in_utc": LOGGED_IN, "processed_time": AT},
    ]
    assert outcome.rejects == []


@pytest.mark.parametrize("timestamp", ["1694479551", 1694479551])
def test_a_timestamp_may_be_a_string_or_a_number(timestamp: Any) -> None:
    outcome = run(pipeline, [login(timestamp=timestamp)], at=AT)

    assert [(row["timestamp"], row["timestamp_in_utc"]) for row in outcome.rows] == [(1694479551, LOGGED_IN)]


def test_unknown_fields_stay_behind() -> None:
    outcome = run(pipeline, [login(battery=0.5)], at=AT)

    assert list(outcome.rows[0]) == [*LOGIN, "timestamp_in_utc", "processed_time"]


@pytest.mark.parametrize("version", ["2.10.0", "2.9.0", "2.3", "2.0.0", "2.0", "2", "2.0.0.0", "10.2", "02.0", "11"])
def test_a_version_of_two_or_more_is_recent_enough(version: str) -> None:
    outcome = run(pipeline, [login(app_version=version)], at=AT)

    assert ([row["app_version"] for row in outcome.rows], outcome.rejects) == ([version], [])


@pytest.mark.parametrize("version", ["1.9.9", "1.10", "1", "0.0.0.999999999", "1.999999999", "0"])
def test_an_older_version_is_rejected(version: str) -> None:
    outcome = run(pipeline, [login(app_version=version)], at=AT)

    assert (outcome.rows, reasons(outcome)) == ([], [TOO_OLD])


@pytest.mark.parametrize(
    "version", ["", "2.", ".2", "2..0", "v2.3.0", "2.3.0-beta", "2,3", "-2", "2.0.0.0.1", "1234567890", "2.0\n", "٢", 2]
)
def test_what_is_no_version_is_rejected(version: Any) -> None:
    outcome = run(pipeline, [login(app_version=version)], at=AT)

    (reason,) = reasons(outcome)
    assert "`$.app_version`" in reason


@pytest.mark.parametrize("device", ["", "ios", "IOS", "Android", "web", " android", "android\n", "it's"])
def test_a_device_type_that_is_not_supported_is_rejected(device: str) -> None:
    outcome = run(pipeline, [login(device_type=device), login(device_type="iOS")], at=AT)

    assert reasons(outcome) == ["unsupported device type"]
    assert [row["device_type"] for row in outcome.rows] == ["iOS"]


@pytest.mark.parametrize("field", list(LOGIN))
def test_no_field_may_be_missing_null_or_of_another_type(field: str) -> None:
    lacking = {name: value for name, value in LOGIN.items() if name != field}

    outcome = run(pipeline, [lacking, login(**{field: None}), login(**{field: ["x"]})], at=AT)

    missing, null, wrong = reasons(outcome)
    assert missing == f"Object missing required field `{field}`"
    assert ("got `null`" in null, "got `array`" in wrong) == (True, True)
    assert outcome.rows == []


@pytest.mark.parametrize(
    "timestamp", ["", " 1694479551", "1694479551.5", 1694479551.5, "2023-09-12T00:45:51Z", "soon", "1e9", True, 10**18]
)
def test_a_malformed_timestamp_is_rejected(timestamp: Any) -> None:
    outcome = run(pipeline, [login(timestamp=timestamp)], at=AT)

    (reason,) = reasons(outcome)
    assert "`$.timestamp`" in reason


@pytest.mark.parametrize("value", [b"", b"null", b"[]", b"hello", json.dumps(LOGIN)[:-1].encode()])
def test_malformed_json_is_rejected_whole(value: bytes) -> None:
    outcome = run(pipeline, [value, LOGIN], at=AT)

    assert [reject.value for reject in outcome.rejects] == [value]
    assert counts(outcome) == [("00:45", "android", 1)]


def test_each_minute_counts_its_valid_logins_per_device_type() -> None:
    minute = 1694479500  # 00:45:00
    logins = [
        login(timestamp=minute),
        login(timestamp=minute + 59),
        login(timestamp=minute + 60),
        login(timestamp=str(minute + 1), device_type="iOS"),
        login(timestamp=minute, device_type="web"),
        login(timestamp=minute, app_version="1.0.0"),
        {},
    ]

    outcome = run(pipeline, logins, at=AT)

    assert counts(outcome) == [("00:45", "android", 2), ("00:45", "iOS", 1), ("00:46", "android", 1)]
    assert len(outcome.rejects) == 3


def test_a_user_who_logs_in_twice_in_a_second_is_two_logins() -> None:
    outcome = run(pipeline, [LOGIN, LOGIN], at=AT)

    assert (len(outcome.rows), counts(outcome)) == (2, [("00:45", "android", 2)])


# -- settings --------------------------------------------------------------------------------------------------


def test_the_minimum_can_be_set() -> None:
    strict = declared("logins", LOGINS_MIN_APP_VERSION="2.9")
    versions = ["2.10.0", "2.9.0", "2.8.99", "10"]

    outcome = run(strict, [login(app_version=version) for version in versions], at=AT)

    assert [row["app_version"] for row in outcome.rows] == ["2.10.0", "2.9.0", "10"]
    assert reasons(outcome) == [TOO_OLD]


def test_device_types_can_be_set() -> None:
    web = declared("logins", LOGINS_DEVICE_TYPES="web, smart tv")

    outcome = run(web, [login(device_type=device) for device in ("web", "smart tv", "android")], at=AT)

    assert counts(outcome) == [("00:45", "smart tv", 1), ("00:45", "web", 1)]
    assert reasons(outcome) == ["unsupported device type"]


def test_what_is_set_is_part_of_the_definition() -> None:
    minimum, devices = declared("logins", LOGINS_MIN_APP_VERSION="3"), declared("logins", LOGINS_DEVICE_TYPES="web")

    hashes = {definition_hash(definition(each)) for each in (pipeline, minimum, devices)}
    assert len(hashes) == 3


def test_in_which_order_device_types_are_listed_makes_no_other_definition() -> None:
    other = declared("logins", LOGINS_DEVICE_TYPES="iOS,android")

    assert definition(other) == definition(pipeline)


@pytest.mark.parametrize("device", ["it's", 'a"b', "a\\b", "'; drop table x; --", "{x}"])
def test_a_device_type_that_would_have_to_be_quoted_is_refused_by_the_settings_name(device: str) -> None:
    with pytest.raises(SettingWrongError, match=r"LOGINS_DEVICE_TYPES=.*; write it as in .*=android,iOS"):
        declared("logins", LOGINS_DEVICE_TYPES=f"web,{device}")


def test_a_list_with_a_hole_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(SettingWrongError, match="LOGINS_DEVICE_TYPES='web,,iOS'"):
        declared("logins", LOGINS_DEVICE_TYPES="web,,iOS")


@pytest.mark.parametrize("version", ["two", "-1", "2'", "2.0.0.0.1", "2."])
def test_a_minimum_that_is_no_version_is_an_error_that_names_the_setting(version: str) -> None:
    with pytest.raises(SettingWrongError, match="LOGINS_MIN_APP_VERSION="):
        declared("logins", LOGINS_MIN_APP_VERSION=version)
