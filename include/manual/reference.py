"""The page of all that can be declared, called and set, from the code: `python -m manual.reference`."""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import typer.main
from msgspec import NODEFAULT

from local.home import REPOSITORY
from manual.docstrings import code, of_value, parse, table, written_types
from microbatch.airflow_params import run_params
from microbatch.cli import app

PAGE: Final = REPOSITORY / "docs" / "reference.md"
HEAD: Final = """\
# Reference

All that can be declared, called and set. [tutorial.md](tutorial.md) shows how it is used, [concepts.md](concepts.md)
what the words mean, [formats.md](formats.md) what tables and messages look like.

Made from the code by `python -m manual.reference`.
"""
DECLARED: Final = {
    "A pipeline": ["microbatch:Pipeline", "microbatch:KafkaTopic", "microbatch:PostgresTable", "microbatch:Keep"],
    "Events": ["microbatch:Event", "microbatch:EpochSeconds", "microbatch:EpochMillis", "microbatch:Scale"],
    "Outputs": ["microbatch:TumblingWindow", "microbatch:Stream", "microbatch:Pairs", "microbatch:Transform"],
    "Measures": ["microbatch:Sum", "microbatch:Count", "microbatch:Min", "microbatch:Max", "microbatch:Mean"],
    "Values in Avro and Protobuf": ["microbatch:Avro", "microbatch:Protobuf"],
    "Settings of a pipeline's file": ["microbatch:setting"],
    "DAGs": [
        "microbatch.airflow:as_dag",
        "microbatch.airflow:every_minute",
        "microbatch.airflow_assets:day_asset",
        "microbatch.airflow_upkeep:as_gaps_dag",
        "microbatch.airflow_upkeep:as_maintenance_dag",
    ],
    "Tests": ["microbatch.testing:run", "microbatch.testing:Outcome", "microbatch.testing:Rejected"],
}
"""Sections, and in each the objects as `module:name`."""


def reference() -> str:
    """The page, in Markdown."""
    lines = [HEAD]
    for title, names in DECLARED.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _object(*name.split(":"))
    return "\n".join([*lines, *_params(), *_commands(), *_variables()])


# -- objects -----------------------------------------------------------------------------------------------


def _object(module: str, name: str) -> Iterator[str]:
    found = getattr(importlib.import_module(module), name)
    if inspect.isclass(found):
        yield from _class(name, found, module)
    elif inspect.isfunction(found):
        yield from _function(name, found, module)
    else:
        yield from (f"### {name}", "", f"Of `{module}`.", "", of_value(_home(module, name), name), "")


def _class(name: str, found: type[Any], module: str) -> Iterator[str]:
    docstring = parse(inspect.getdoc(found) or "")
    yield from (f"### {name}", "", f"Of `{module}`.", "", docstring.text, "")
    meanings = _meanings(found)
    kinds = written_types(found)
    defaults = dict(zip(reversed(found.__struct_fields__), reversed(found.__struct_defaults__), strict=False))
    if found.__struct_fields__:
        rows = (
            [code(field), code(kinds[field]), _default(defaults.get(field, NODEFAULT)), meanings[field]]
            for field in found.__struct_fields__
        )
        yield from table(["field", "type", "default", ""], rows)
    yield from _raised(docstring.entries)


def _function(name: str, found: Callable[..., Any], module: str) -> Iterator[str]:
    docstring = parse(inspect.getdoc(found) or "")
    signature = inspect.signature(found).parameters
    yield from (f"### {name}", "", f"`{name}({', '.join(signature)})` of `{module}`.", "", docstring.text, "")
    kinds = written_types(found)
    if meanings := docstring.entries.get("Args"):
        rows = (
            [code(name), code(kinds[name]), _default(each.default), meanings.get(name, "")]
            for name, each in signature.items()
        )
        yield from table(["argument", "type", "default", ""], rows)
    yield from _raised(docstring.entries)


def _meanings(found: type[Any]) -> dict[str, str]:
    """What a class and those that it is made of say of their fields."""
    bases = [parse(inspect.cleandoc(base.__doc__ or "")) for base in reversed(found.__mro__)]
    return {name: text for base in bases for name, text in base.entries.get("Attributes", {}).items()}


def _raised(entries: dict[str, dict[str, str]]) -> Iterator[str]:
    if raised := entries.get("Raises"):
        yield from ("Raises " + "; ".join(f"`{error}`: {why}" for error, why in raised.items()), "")


def _home(module: str, name: str) -> str:
    """The module that assigns a constant: `microbatch` itself only passes on."""
    return "microbatch.event" if module == "microbatch" and name.startswith("Epoch") else module


def _default(value: Any) -> str:
    if value in (NODEFAULT, inspect.Parameter.empty):
        return "needed"
    return _shown(value.factory() if hasattr(value, "factory") else value)


def _shown(value: Any) -> str:
    return code(re.sub(r"datetime\.(timedelta)\((.*?)\)", r"\1(\2)", repr(value)))


# -- Airflow's form, the command line, variables -----------------------------------------------------------


def _params() -> Iterator[str]:
    yield from ("## Params of a pipeline's DAG", "", "What the trigger form asks for, and `dag_run.conf` takes.", "")
    for name, param in run_params().items():
        yield from (f"### {name}", "", f"{param.schema['title']}; default {code(param.value)}.", "")
        yield from (str(param.schema["description_md"]).strip(), "")


def _commands() -> Iterator[str]:
    yield from ("## The command line", "", "`microbatch COMMAND --help` says the same.", "")
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        usage = " ".join(["microbatch", name, *(_argument(each) for each in arguments)])
        yield from (f"### microbatch {name}", "", code(usage), "", inspect.cleandoc(command.help), "")
        shown = [each for each in command.params if each.help and not each.hidden]
        if shown:
            rows = ([code(_option(each)), _default_value(each), each.help] for each in shown)
            yield from table(["argument or option", "default", ""], rows)


def _argument(argument: Any) -> str:
    name = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    if option.param_type_name == "argument":
        return _argument(option)
    return (
        option.opts[0] if option.is_flag else f"{option.opts[0]} {option.type_descriptor.annotation.__name__.upper()}"
    )


def _default_value(option: Any) -> str:
    if option.required:
        return "needed"
    return "" if option.default in (None, False, [], ()) else code(option.default)


def _variables() -> Iterator[str]:
    yield from ("## Variables", "")
    yield from (
        "Of the environment, or of `.env` in the checkout; `.env.example` lists them, with those of containers.",
        "",
    )
    text = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    settings = text.partition("# -- settings of the pipelines and producers\n")[2]
    found = re.findall(r"((?:^# .*\n)+)^(\w+)=(.*)$", settings, re.MULTILINE)
    rows = ([code(name), " ".join(line.removeprefix("# ") for line in about.splitlines())] for about, name, _ in found)
    yield from table(["variable", ""], rows)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
