"""The libraries of the pages are those that their packages have, with their licences, and no others."""

import hashlib
import tomllib
from importlib.resources import files

VENDOR = files("microbatch_ui").joinpath("static", "vendor")
LISTED = tomllib.loads(VENDOR.joinpath("VENDORED.toml").read_text())


def test_each_file_has_the_hash_that_is_listed() -> None:
    listed = {name: file["sha256"] for library in LISTED.values() for name, file in library["files"].items()}

    assert {name: hashlib.sha256(VENDOR.joinpath(name).read_bytes()).hexdigest() for name in listed} == listed


def test_there_are_no_other_files_and_each_library_has_its_licence() -> None:
    listed = {name for library in LISTED.values() for name in [*library["files"], *library["license_files"]]}

    assert {entry.name for entry in VENDOR.iterdir()} == listed | {"VENDORED.toml"}
