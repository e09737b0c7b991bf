"""The page of all errors, from the code: `python -m manual.errors`.

It is read from the source and not from the running program: the packages of the demo and of the embedded stack, which
only a checkout has, need more than the engine does.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from local.home import REPOSITORY
from microbatch import errors

PAGE: Final = REPOSITORY / "docs" / "errors.md"
SOURCES: Final = REPOSITORY / "include"
"""The folder of all packages."""

_HEAD: Final = """\
# Errors

Every error: what it means, and what it says. Names in braces stand for the object and the value that an error names;
after a semicolon, or as a sentence of its own, comes the remedy. *Tries again* says that Airflow's next try, or the
next run, may get over it by itself; all others need a person first. What is in `microbatch.failure`, in a task's log
and on the [pages](pages.md) is the name and the text. What to do where whole servers are lost stands in
[operations.md](operations.md#what-is-lost).

Made from the code by `python -m manual.errors`.
"""
_BASES: Final = frozenset({"MicrobatchError", "TerminalError", "TransientError", "StackError", "RecountError"})
"""Those that others are made of: nobody sees them."""

_UNSEEN: Final = frozenset({"InvalidError", "QueryRefusedError"})
"""A reject that the independent check expects; and what carries an answer of the pages, which is below."""

_TEXTS: Final = ("what", "reason", "remedy")
"""Facts of an error that are sentences, given where it is raised."""


class Found(NamedTuple):
    """An error class.

    Attributes:
        name: of the class.
        meaning: its docstring's first paragraph.
        message: its template; empty if each place that raises it has one of its own.
        is_transient: it may pass by itself.
        says: what the places that raise it put into the template, or their own templates.
    """

    name: str
    meaning: str
    message: str
    is_transient: bool
    says: list[str]


class _Module(NamedTuple):
    package: str
    name: str
    tree: ast.Module


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *_page()])


def _page() -> Iterator[str]:
    modules = list(_modules())
    classes = _classes(modules)
    engine = {found.name: found for found in classes["microbatch"]}
    for title, names in _sections():
        yield from _section(title, [engine.pop(name) for name in names if name in engine])
    yield from _section("the command line and the embedded stack", [*engine.values(), *classes["local"]])
    yield from _section("demo producers and the mock of the weather service", classes["producers"])
    yield from _lines("wrong arguments and what keeps a program from starting", _exits(modules))
    yield from _lines("fields and expressions, in a declaration or as the reason of a dead letter", _values(modules))
    yield from _section("the independent check", classes["recount"])
    yield from _lines("answers of the pages", _answers(modules))


def _sections() -> Iterator[tuple[str, list[str]]]:
    """The sections of `errors.py`, each begun by a comment such as `# -- declarations ---`, with their errors."""
    source = inspect.getsource(errors)
    starts = {
        number: line.strip("# -") for number, line in enumerate(source.splitlines(), 1) if line.startswith("# -- ")
    }
    defined = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    for title_line, title in starts.items():
        end = min((line for line in starts if line > title_line), default=len(source))
        yield title, [node.name for node in defined if title_line < node.lineno < end]


def _modules() -> Iterator[_Module]:
    for package in ("microbatch", "local", "producers", "weather_api", "recount", "microbatch_ui"):
        for path in sorted((SOURCES / package).rglob("*.py")):
            yield _Module(package, path.stem, ast.parse(path.read_text(encoding="utf-8")))


# -- classes -------------------------------------------------------------------------------------------------


def _classes(modules: list[_Module]) -> dict[str, list[Found]]:
    """The errors of each package, in the order in which they are defined."""
    defined = [(m, node) for m in modules for node in m.tree.body if isinstance(node, ast.ClassDef)]
    bases = {node.name: [ast.unparse(base) for base in node.bases] for _, node in defined}
    says = _said(modules, {node.name for _, node in defined if node.name.endswith("Error")})
    found: dict[str, list[Found]] = {module.package: [] for module in modules}
    for module, node in defined:
        if node.name in _BASES | _UNSEEN or not node.name.endswith("Error"):
            continue
        found[module.package].append(
            Found(
                name=node.name,
                meaning=" ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split()),
                message=_message(node, bases, defined),
                is_transient=_is(node.name, "TransientError", bases),
                says=says.get(node.name, []),
            )
        )
    return found


def _is(name: str, kind: str, bases: dict[str, list[str]]) -> bool:
    """Whether a class is another one, or made of it."""
    return name == kind or any(_is(base, kind, bases) for base in bases.get(name, []))


def _message(node: ast.ClassDef, bases: dict[str, list[str]], defined: list[tuple[_Module, ast.ClassDef]]) -> str:
    """The template, its own or inherited."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "message":
            return _template(statement.value)
    for base in bases[node.name]:
        for _, other in defined:
            if other.name == base and base not in _BASES:
                return _message(other, bases, defined)
    return ""


def _said(modules: list[_Module], names: set[str]) -> dict[str, list[str]]:
    """By error: the texts that are given to it where it is raised."""
    found: dict[str, list[str]] = {}
    for module in modules:
        for name, given in _raised(module, names):
            text = "; ".join(given[each] for each in _TEXTS if each in given)
            if text and text not in found.setdefault(name, []):
                found[name].append(text)
    return found


def _raised(module: _Module, names: set[str]) -> Iterator[tuple[str, dict[str, str]]]:
    helpers = {
        function.name: (ast.unparse(function.returns), [argument.arg for argument in function.args.args])
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef) and function.returns and ast.unparse(function.returns) in names
    }
    for call, scopes in _calls(module.tree):
        called = ast.unparse(call.func)
        name, parameters = helpers.get(called, (called, []))
        if name not in names:
            continue
        if call.args and called not in helpers:
            yield name, {"what": _text(call.args[0], scopes)}
            continue
        arguments = dict(zip(parameters, call.args, strict=False))
        arguments |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        given = {each: _text(arguments[each], scopes) for each in _TEXTS if each in arguments}
        if any(given.values()):
            yield name, {each: text or f"{{{ast.unparse(arguments[each])}}}" for each, text in given.items()}


# -- texts ---------------------------------------------------------------------------------------------------


def _exits(modules: list[_Module]) -> Iterator[str]:
    """What a program says before it ends, without an error class."""
    for module in modules:
        for call, scopes in _calls(module.tree):
            if ast.unparse(call.func) in ("sys.exit", "SystemExit", "typer.BadParameter") and call.args:
                yield _text(call.args[0], scopes)
        if module.name == "preflight":
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield _template(node.value)


def _values(modules: list[_Module]) -> Iterator[str]:
    """Of Python's own errors, which become part of an error of ours or the reason of a dead letter."""
    for module in modules:
        if module.package != "recount":
            for call, scopes in _calls(module.tree):
                if ast.unparse(call.func) in ("TypeError", "ValueError") and call.args:
                    yield _text(call.args[0], scopes)


def _answers(modules: list[_Module]) -> Iterator[str]:
    """Of the pages' app, with the status of HTTP."""
    for module in modules:
        if module.package == "microbatch_ui":
            calls = list(_calls(module.tree))
            for call, scopes in calls:
                if ast.unparse(call.func) == "Refusal":
                    yield _line(400, _text(call.args[0], scopes))
                if ast.unparse(call.func) == "HTTPException":
                    status, detail = call.args
                    number = int(re.sub(r"\D", "", ast.unparse(status)))
                    yield _line(number, _text(detail, scopes))
                    # Of a function that makes one, the texts that it is given.
                    makers = [scope.name for scope in scopes if isinstance(scope, ast.FunctionDef)]
                    for other, around in calls:
                        if isinstance(detail, ast.Name) and ast.unparse(other.func) in makers:
                            yield _line(number, _text(other.args[0], around))


def _line(status: int, text: str) -> str:
    return f"{status}: {text}" if text else ""


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, list[ast.FunctionDef | ast.Module]]]:
    """All calls, each with the function that it is in and its module."""
    inside: dict[ast.AST, ast.FunctionDef] = {}
    for function in ast.walk(tree):  # outer ones first: the innermost is kept
        if isinstance(function, ast.FunctionDef):
            inside |= dict.fromkeys(ast.walk(function), function)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, [inside[node], tree] if node in inside else [tree]


def _text(node: ast.expr, scopes: list[ast.FunctionDef | ast.Module]) -> str:
    """The template of an expression; of a name, of what it was given in one of the scopes. Empty: it is no text."""
    if isinstance(node, ast.Name):
        for scope in scopes:
            for statement in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else scope.body:
                if isinstance(statement, ast.Assign | ast.AnnAssign) and node.id in _targets(statement):
                    return _template(statement.value) if statement.value else ""
    return _template(node)


def _targets(statement: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [ast.unparse(target) for target in targets]


def _template(node: ast.expr) -> str:
    """A text with names in braces, as an f-string has it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) or _hole(part) for part in node.values)
    return ""


def _hole(part: ast.expr) -> str:
    if not isinstance(part, ast.FormattedValue):
        return ""
    conversion = f"!{chr(part.conversion)}" if part.conversion > 0 else ""
    return f"{{{ast.unparse(part.value)}{conversion}}}"


# -- Markdown ------------------------------------------------------------------------------------------------


def _section(title: str, found: list[Found]) -> Iterator[str]:
    yield f"## {title[0].upper()}{title[1:]}\n"
    for error in found:
        again = " *Tries again.*" if error.is_transient else ""
        yield f"**{error.name}**: {error.meaning}{again}\n"
        if error.message:
            yield f"```text\n{error.message}\n```\n"
        if error.says:
            said = "\n".join(error.says)
            yield f"```text\n{said}\n```\n" if not error.message else f"Of what, for one:\n\n```text\n{said}\n```\n"


def _lines(title: str, texts: Iterator[str]) -> Iterator[str]:
    yield f"## {title[0].upper()}{title[1:]}\n"
    said = "\n".join(dict.fromkeys(text for text in texts if text))
    yield f"```text\n{said}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
