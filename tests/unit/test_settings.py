"""Settings of a pipeline's file, and of the connections."""

import pickle
import traceback

import pytest

from microbatch import setting
from microbatch.errors import (
    ConnectionStringError,
    KafkaSettingsError,
    SchemaRegistrySettingsError,
    SettingWrongError,
    TerminalError,
)
from microbatch.postgres import connect
from microbatch.settings import kafka_settings, schema_registry_settings

NAME = "PIPELINE_SETTING"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)


def test_what_is_not_set_has_its_default() -> None:
    assert (setting(NAME, 12), setting(NAME, "two"), setting(NAME, ["a", "b"])) == (12, "two", ["a", "b"])


@pytest.mark.parametrize("text", ["", "  ", "\t"])
def test_empty_is_as_good_as_not_set(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)

    assert (setting(NAME, 12), setting(NAME, "two"), setting(NAME, ["a", "b"])) == (12, "two", ["a", "b"])


@pytest.mark.parametrize(("text", "number"), [("10", 10), ("0", 0), ("-3", -3), ("+3", 3), (" 7 ", 7), ("007", 7)])
def test_a_number_is_a_whole_one(monkeypatch: pytest.MonkeyPatch, text: str, number: int) -> None:
    monkeypatch.setenv(NAME, text)

    assert setting(NAME, 12) == number


@pytest.mark.parametrize(("text", "value"), [("raw", "raw"), ("12", "12"), (" a b ", "a b"), ("a,b", "a,b")])
def test_a_text_is_as_it_stands_less_the_space_around_it(
    monkeypatch: pytest.MonkeyPatch, text: str, value: str
) -> None:
    monkeypatch.setenv(NAME, text)

    assert setting(NAME, "default") == value


@pytest.mark.parametrize(
    ("text", "items"), [("a", ["a"]), ("a,b", ["a", "b"]), (" b , a,b", ["b", "a", "b"]), ("a b;c", ["a b;c"])]
)
def test_a_list_has_commas_between_its_texts(monkeypatch: pytest.MonkeyPatch, text: str, items: list[str]) -> None:
    monkeypatch.setenv(NAME, text)

    assert setting(NAME, ["default"]) == items


@pytest.mark.parametrize("text", ["twelve", "12.0", "1e1", "0x10", "1,2", "--1", "nan", "1_0", "-"])
def test_what_is_no_number_is_an_error_that_says_what_would_be(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)

    with pytest.raises(SettingWrongError) as caught:
        setting(NAME, 12)

    assert str(caught.value) == (
        f"{NAME}={text!r} does not have the form [+-]?[0-9]+; write it as in {NAME}=12, or leave it out"
    )


@pytest.mark.parametrize("text", [",", "a,", ",a", "a,,b", "a, ,b"])
def test_a_list_with_a_hole_is_an_error_that_names_setting_and_value(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(NAME, text)

    with pytest.raises(SettingWrongError, match=rf"{NAME}='{text}' .*; write it as in {NAME}=x,y"):
        setting(NAME, ["x", "y"])


@pytest.mark.parametrize("text", ["2.10", "7"])
def test_a_text_may_have_to_match_a_pattern(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)

    assert setting(NAME, "1.0", pattern=r"[0-9.]+") == text


@pytest.mark.parametrize("text", ["two", "2.10b", "v2.10", "2.1\n0"])
def test_the_whole_text_has_to_match(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)

    with pytest.raises(SettingWrongError, match=rf"does not have the form .*; write it as in {NAME}=1.0,"):
        setting(NAME, "1.0", pattern=r"[0-9.]+")


@pytest.mark.parametrize("text", ["a,b1", "a b", "A"])
def test_each_text_of_a_list_has_to_match(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(NAME, text)

    with pytest.raises(SettingWrongError, match=rf"{NAME}='{text}' does not have the form"):
        setting(NAME, ["x"], pattern="[a-z]")


def test_the_default_need_not_match() -> None:
    assert setting(NAME, "none", pattern="[0-9]+") == "none"


def test_the_error_is_terminal_and_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "twelve")

    with pytest.raises(TerminalError) as caught:
        setting(NAME, 12)

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


def test_the_default_is_not_handed_out_to_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "a,b")

    assert setting(NAME, ["a", "b"]) is not setting(NAME, ["a", "b"])


# -- how to reach Kafka ------------------------------------------------------------------------------------------


def test_kafkas_settings_are_an_address_and_what_the_variable_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "KAFKA_SETTINGS", '{"security.protocol": "SSL", "enable.x": true, "n": 3, "bootstrap.servers": "b"}'
    )

    assert kafka_settings("a:1") == {
        "security.protocol": "SSL",
        "enable.x": "true",
        "n": "3",
        "bootstrap.servers": "a:1",
    }


@pytest.mark.parametrize("text", ["", "  ", "{}"])
def test_without_settings_there_is_the_address(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("KAFKA_SETTINGS", text)

    assert kafka_settings("a:1") == {"bootstrap.servers": "a:1"}


@pytest.mark.parametrize(
    "text", ["secret-1", '"secret-1"', '["secret-1"]', '{"sasl.password": ["secret-1"]}', "{secret-1}"]
)
def test_settings_that_cannot_be_read_are_told_without_what_they_say(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("KAFKA_SETTINGS", text)

    with pytest.raises(KafkaSettingsError, match="KAFKA_SETTINGS is no JSON object") as caught:
        kafka_settings("a:1")

    assert "secret-1" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "dsn", ["host=a password=secret-1 secret-2", "postgresql://u:secret-1@h:p:5/?secret-2", "secret-1"]
)
def test_a_connection_string_that_cannot_be_read_is_told_without_what_it_says(dsn: str) -> None:
    with (
        pytest.raises(ConnectionStringError, match="cannot be read; write it as postgresql://") as caught,
        connect(dsn, "t"),
    ):
        pass

    assert "secret-" not in "".join(traceback.format_exception(caught.value))


def test_the_registrys_settings_are_a_json_object_beside_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEMA_REGISTRY_SETTINGS", '{"timeout": 3, "basic.auth.user.info": "a:b", "url": "other"}')
    assert schema_registry_settings() == {}

    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://registry:8081")
    assert schema_registry_settings() == {
        "url": "http://registry:8081",
        "timeout": 3,
        "basic.auth.user.info": "a:b",
    }

    monkeypatch.setenv("SCHEMA_REGISTRY_SETTINGS", '["s3cret"]')
    with pytest.raises(SchemaRegistrySettingsError, match="SCHEMA_REGISTRY_SETTINGS is no JSON object") as caught:
        schema_registry_settings()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
