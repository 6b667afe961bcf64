"""
The rooms and their floors: imports go strictly down, and each room has the packages it needs.

Every import statement counts, also one inside a function and one for type checking alone.
"""

from __future__ import annotations

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rpcguard

SOURCE = Path(rpcguard.__file__).parent
ROOT = "rpcguard"

# Bottom first. A name with "/" is a folder: one room, whose modules may import each other, not in
# a circle. Whatever stands on one floor does not see the other things there.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            *("errors", "base64url", "base58", "strict_json", "ecmascript", "peer", "trace"),
            "algorithms",
        }
    ),
    frozenset({"request", "principal", "jsonrpc", "target", "rates"}),
    frozenset({"owed", "observer"}),
    frozenset({"policy", "pending"}),
    frozenset({"keys"}),
    frozenset({"schemes/", "backends/"}),
    frozenset({"sessions"}),
    frozenset({"project", "ending"}),
    frozenset({"messages", "steps", "shown"}),
    frozenset({"callers", "places"}),
    frozenset({"authenticator"}),
    frozenset({"registry/", "turns", "own_threads", "measured", "audit", "observers/"}),
    frozenset({"issuing", "limiter"}),
    frozenset({"verifier"}),
    frozenset({"contrib", "contrib._sockets", "contrib._openapi", "client/"}),
    frozenset(
        {
            *("contrib._http", "contrib._wsgi_socket", "contrib._aiohttp_socket"),
            "contrib._aiohttp_request",
        }
    ),
    frozenset(
        {"contrib._asgi_socket", "contrib._wsgi", "contrib._aiohttp_body", "contrib._flask_body"}
    ),
    frozenset({"contrib._asgi_request"}),
    frozenset({"contrib._asgi_body"}),
    frozenset({"contrib._asgi", "contrib._fastapi_everywhere"}),
    frozenset({"contrib.fastapi", "contrib.flask", "contrib.aiohttp", "contrib.redaction", "cli/"}),
    frozenset({"testing/"}),
    frozenset({"__main__", "__init__"}),
)
PURE_BELOW = next(floor for floor, rooms in enumerate(FLOORS) if "registry/" in rooms)

# Clocks, sockets, files, processes: nothing below the registry has them but the backends.
IMPURE = frozenset(
    {
        *("time", "datetime", "socket", "ssl", "select", "selectors", "asyncio", "signal"),
        *("os", "io", "pathlib", "shutil", "tempfile", "subprocess", "importlib"),
        *("sqlite3", "redis", "http", "urllib.request"),
    }
)
BACKENDS_MAY = frozenset({"os", "asyncio", "sqlite3", "pathlib", "redis", "socket", "ssl"})
# How long a backend has waited is measured; what time it is, the caller says.
BACKENDS_MEASURE = frozenset({"time.monotonic"})

FRAMEWORKS = {
    "contrib.fastapi": frozenset({"fastapi", "starlette"}),
    "contrib.flask": frozenset({"flask", "werkzeug", "simple_websocket"}),
    "contrib.aiohttp": frozenset({"aiohttp", "multidict", "yarl"}),
}
# Packages outside the standard library, by room; a room that is not here has none.
PACKAGES = FRAMEWORKS | {
    "contrib._aiohttp_body": frozenset({"aiohttp"}),
    "contrib._fastapi_everywhere": frozenset({"fastapi", "starlette"}),
    "contrib._aiohttp_request": frozenset({"aiohttp"}),
    "contrib._flask_body": frozenset({"flask", "werkzeug"}),
    "contrib._aiohttp_socket": frozenset({"aiohttp", "multidict"}),
    "algorithms": frozenset({"cryptography"}),
    "keys": frozenset({"cryptography", "nacl"}),
    "schemes/": frozenset({"cryptography", "joserfc", "jwt"}),
    "sessions": frozenset({"jwt"}),
    "backends/": frozenset({"redis"}),
    "registry/": frozenset({"pydantic", "pydantic_core", "yaml"}),
    "limiter": frozenset({"limits", "redis"}),
    "observers/": frozenset({"opentelemetry", "prometheus_client"}),
    "client/": frozenset(
        {
            *("base58", "cryptography", "jwt", "nacl"),
            *("aiohttp", "httpx", "httpx2", "requests", "urllib3", "web3", "websockets"),
        }
    ),
    "testing/": frozenset({"aiohttp", "fastapi", "flask", "pytest", "starlette"}),
    "cli/": frozenset({"click", "cryptography", "httpx", "rich", "typer", "yaml"}),
}


def _modules() -> dict[str, Path]:
    """Return every module of the package by its name below the root; the root is `__init__`."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found[name] = path
    return found


MODULES = _modules()


def room_of(module: str) -> str:
    """Return the room in which *module* stands: itself, or the folder that holds it."""
    folder = module.partition(".")[0] + "/"
    return folder if any(folder in rooms for rooms in FLOORS) else module


def floor_of(module: str) -> int:
    """Return the floor of *module*; a module that stands on none is an error."""
    for floor, rooms in enumerate(FLOORS):
        if room_of(module) in rooms:
            return floor
    raise AssertionError(f"{module} stands on no floor; give it one")


def _imported(module: str) -> Iterator[str]:
    """Yield the full dotted name of everything that *module* imports."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own(module: str) -> Iterator[str]:
    """Yield the modules of the package that *module* imports."""
    for name in _imported(module):
        if name.split(".")[0] != ROOT:
            continue
        below = name.removeprefix(ROOT).removeprefix(".")
        target = below if below in MODULES else below.rpartition(".")[0]
        yield target or "__init__"


def _foreign(module: str) -> set[str]:
    return {name for name in _imported(module) if name.split(".")[0] not in (ROOT, "__future__")}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_on_a_lower_floor_or_in_its_room(module: str) -> None:
    for target in _own(module):
        assert target in MODULES, f"{module} imports {target}, which is no module"
        if room_of(target) != room_of(module):
            assert floor_of(target) < floor_of(module), f"{module} imports {target}"


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_nothing_inside_imports_the_package_root(module: str) -> None:
    assert "__init__" not in set(_own(module))
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    plain = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    assert [name for name in plain if name.split(".")[0] == ROOT] == []


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    graph = {module: set(_own(module)) - {module} for module in MODULES}

    order = list(graphlib.TopologicalSorter(graph).static_order())

    assert set(order) == set(MODULES)


def test_every_floor_has_its_modules() -> None:
    standing = {room_of(module) for module in MODULES}

    assert standing == set().union(*FLOORS)


@pytest.mark.parametrize("module", [name for name in MODULES if floor_of(name) < PURE_BELOW])
def test_below_the_registry_there_are_no_clocks_and_no_input_or_output(module: str) -> None:
    permitted = BACKENDS_MAY if room_of(module) == "backends/" else frozenset()
    names = _foreign(module) - (BACKENDS_MEASURE if room_of(module) == "backends/" else set())
    impure = {bad for bad in IMPURE for name in names if f"{name}.".startswith(f"{bad}.")}
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert impure - permitted == set()
    assert calls & {"open", "input", "print", "exec", "eval", "compile", "__import__"} == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_the_packages_of_its_room(module: str) -> None:
    packages = {name.split(".")[0] for name in _foreign(module)} - sys.stdlib_module_names

    assert packages <= PACKAGES.get(room_of(module), frozenset())


def test_modules_are_named_for_what_they_hold() -> None:
    magnets = {"utils", "util", "helpers", "helper", "common", "misc", "_utils", "_util"}

    assert not magnets & {part for module in MODULES for part in module.split(".")}


def _loaded_after(statement: str) -> set[str]:
    """Return the packages and own modules that a fresh interpreter has loaded after *statement*."""
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r})\n"
        f"{statement}\n"
        "print('\\n'.join(sys.modules))"
    )
    # Measuring coverage would load things of its own.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=plain,
    )
    assert done.returncode == 0, done.stderr
    names = set(done.stdout.split())
    return names | {name.split(".")[0] for name in names}


HEAVY = frozenset(
    {
        *(
            "fastapi",
            "starlette",
            "flask",
            "werkzeug",
            "aiohttp",
            "redis",
            "typer",
            "click",
            "rich",
        ),
        *("prometheus_client", "opentelemetry", "rpcguard.observers"),
        *("httpx", "requests", "web3", "rpcguard.cli", "rpcguard.client", "rpcguard.testing"),
        *(f"rpcguard.{adapter}" for adapter in FRAMEWORKS),
    }
)


def test_importing_the_package_loads_no_framework_no_client_no_model_library_no_cli() -> None:
    loaded = _loaded_after("import rpcguard")

    assert loaded & (HEAVY | {"pydantic", "pydantic_core", "yaml", "asyncio"}) == set()


def test_the_core_loads_no_framework_no_redis_client_and_no_cli() -> None:
    loaded = _loaded_after("from rpcguard import AuthError, Principal, Request, Verifier")

    assert loaded & HEAVY == set()
    # nor what one kind of project, backend or URL needs, or only an event loop or a mistake
    seldom = {"asyncio", "concurrent.futures", "difflib", "joserfc", "limits", "sqlite3"}
    assert loaded & seldom == set()


@pytest.mark.parametrize("adapter", FRAMEWORKS)
def test_an_adapter_loads_its_own_framework_and_no_other(adapter: str) -> None:
    own = adapter.rpartition(".")[2]
    others = {name.rpartition(".")[2] for name in FRAMEWORKS} - {own}
    loaded = _loaded_after(f"import rpcguard.{adapter}")

    assert own in loaded
    assert loaded & (others | {"redis", "typer", "rpcguard.cli", "rpcguard.client"}) == set()


# What each shim of the client may load; web3.py itself sends with requests and aiohttp.
SHIMS = {
    "httpx": {"httpx"},
    "httpx2": {"httpx2"},
    "requests": {"requests"},
    "aiohttp": {"aiohttp"},
    "websockets": {"websockets"},
    "web3": {"web3", "requests", "aiohttp", "websockets"},
}
LIBRARIES = set().union(*SHIMS.values())


@pytest.mark.parametrize("shim", SHIMS)
def test_a_shim_loads_its_own_library_and_no_other(shim: str) -> None:
    loaded = _loaded_after(f"import rpcguard.client.{shim}")

    assert shim in loaded
    assert loaded & LIBRARIES <= SHIMS[shim]


def test_the_signers_load_no_http_library() -> None:
    assert _loaded_after("import rpcguard.client") & LIBRARIES == set()
