"""The tables: on the terminal, and between two marks of `docs/performance.md`."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from bench.apps import PEERS
from bench.bounds import BOUNDS
from bench.run import Figures

BEGIN, END = "<!-- what follows is written by `make bench` -->", "<!-- until here -->"
LIBRARIES = (
    *("pyjwt", "joserfc", "authlib", "cryptography", "pynacl", "redis", "fastapi", "uvicorn"),
    *("fastapi-users", "authx", "flask", "gunicorn", "flask-jwt-extended", "flask-httpauth"),
    *("aiohttp", "aiohttp-jwt", "uvloop"),
)
_STATES = ("cold", "hot")
_BACKENDS = ("memory", "sqlite", "redis")
_FRAMEWORKS = ("fastapi", "flask", "aiohttp")
_PRESETS = (
    *("meganode", "meganode_rs256", "allthatnode_rs256", "allthatnode_es256", "nodius"),
    *("nodius_session", "nodius_2026", "oppiwallet", "bearer_eddsa", "engine_api"),
)

Row = Sequence[object]


def verdicts(figures: Figures) -> list[Row]:
    """Return what has a bound: name, figure, bound, verdict and meaning."""
    return [
        (bound.name, figures[bound.name], bound.at_most, bound.verdict(figures[bound.name]),
         bound.what)
        for bound in BOUNDS
        if bound.name in figures
    ]  # fmt: skip


def terminal(figures: Figures) -> str:
    """Return the figures with bounds, their verdicts, and then all others."""
    rows = verdicts(figures)
    width = max(map(len, figures), default=0)
    lines = [
        f"{name:{width}} {shown(value):>10}  at most {at_most:<5}  {verdict}"
        for name, value, at_most, verdict, _ in rows
    ]
    bounded = {row[0] for row in rows}
    lines += [
        f"{name:{width}} {shown(value):>10}"
        for name, value in figures.items()
        if name not in bounded
    ]
    return "\n".join(lines)


def write(page: Path, figures: Figures) -> None:
    """
    Put the tables between the marks of *page*.

    Raises:
        ValueError: If the marks are not there.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} has no marks to write between")
    body = "\n\n".join(_parts(figures))
    page.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def _parts(figures: Figures) -> Iterator[str]:
    yield f"Measured on {machine()}."
    yield table(
        ("name", "measured", "at most", "verdict", "what"),
        [(f"`{name}`", *rest) for name, *rest in verdicts(figures)],
    )
    yield "### A token, in microseconds"
    yield _tokens(figures)
    yield _named(figures, r"(known_.*)_us")
    yield "### Every preset on every backend, in microseconds"
    yield _presets(figures)
    yield "### What a guard adds to a request, in microseconds"
    yield _added(figures)
    yield "### Under load, in requests per second"
    yield _under_load(figures)
    yield "### Backends, and how they grow, in microseconds"
    yield _backends(figures)
    yield _processes(figures)
    yield "### Registries, in microseconds"
    yield _named(figures, r"(verify_.*)_us")
    yield "### Loading and start-up, in milliseconds"
    yield table(
        ("what", "ms"),
        [(_words(name), value / 1000)
         for name, value in _matching(figures, r"((?:import|first_verify|load)\w*)_us")],
    )  # fmt: skip
    megabytes = shown(figures["load_10k_keys_mb"])
    yield f"The registry of 10 000 public keys takes {megabytes} MB of resident memory."
    yield "### The bare limits, in microseconds"
    yield _named(figures, r"limit_(.*)_us")
    yield f"Versions: {_versions()}."


def _tokens(figures: Figures) -> str:
    columns = ("hot", "cold", "pyjwt", "joserfc", "authlib")
    rows = [
        (algorithm.upper(), *(figures[f"{column}_{algorithm}_us"] for column in columns))
        for algorithm in ("hs256", "rs256", "es256")
    ]
    names = ("algorithm", "rpcguard, seen", "rpcguard, never seen", "PyJWT", "joserfc", "Authlib")
    return table(names, rows)


def _presets(figures: Figures) -> str:
    columns = [(state, backend) for backend in _BACKENDS for state in _STATES]
    rows = [
        (preset.replace("_", "-"), *(
            figures.get(f"{preset}_{state}_{backend}_us", "-") for state, backend in columns
        ))
        for preset in _PRESETS
    ]  # fmt: skip
    return table(("credential", *(f"{backend}, {state}" for state, backend in columns)), rows)


def _added(figures: Figures) -> str:
    rows: list[Row] = []
    for framework in _FRAMEWORKS:
        both = ("hs256", "rs256")
        for state in ("hot", "cold"):
            added = [figures[f"{framework}_added_{state}_{algorithm}_us"] for algorithm in both]
            rows.append((framework, f"rpcguard, {state}", *added))
        for name, value in _matching(figures, rf"{framework}_added_hs256_by_(.*)_us"):
            other = figures[f"{framework}_added_rs256_by_{name}_us"]
            rows.append((framework, PEERS[name], value, other))
        plain = [figures[f"{framework}_unguarded_{algorithm}_us"] for algorithm in both]
        rows.append((framework, "*the unguarded request itself*", *plain))
    return table(("framework", "guard", "HS256", "RS256"), rows)


def _under_load(figures: Figures) -> str:
    names = {"unguarded": "*unguarded*", "rpcguard": "rpcguard", **PEERS}
    rows = [
        (framework, names[app], value)
        for framework in _FRAMEWORKS
        for app, value in _matching(figures, rf"rps_{framework}_(.*)")
    ]
    generator = shown(figures["rps_of_the_generator"])
    return (
        table(("framework", "guard", "requests per second"), rows)
        + f"\n\nA server that answers without reading gets {generator} from the same generator."
    )


def _backends(figures: Figures) -> str:
    columns = {
        "one settle": "settle_{}_us",
        "one of 16 at a time": "settle16_{}_us",
        "with 0 live nonces": "settle_0_nonces_{}_us",
        "100 000": "settle_100k_nonces_{}_us",
        "1 000 000": "settle_1m_nonces_{}_us",
        "bytes per nonce": "{}_nonce_bytes",
        "a wallet's request": "wallet_{}_us",
    }
    rows: list[Row] = [
        (kind, *(figures[name.format(kind)] for name in columns.values())) for kind in _BACKENDS
    ]
    bare = {
        "one settle": "settle_redis_set_us",
        "one of 16 at a time": "settle16_redis_set_us",
        "a wallet's request": "wallet_nacl_us",
    }
    rows.append(
        (
            "*bare `SET NX PX`; bare PyNaCl*",
            *(figures[bare[column]] if column in bare else "-" for column in columns),
        )
    )
    return table(("backend", *columns), rows)


def _processes(figures: Figures) -> str:
    numbers = range(1, 5)
    rows = [
        (
            kind,
            *(figures[f"wallets_per_second_{kind}_{number}_processes"] for number in numbers),
        )
        for kind in ("sqlite", "redis")
    ]
    return table(("wallets' requests per second, by processes", *numbers), rows)


def _named(figures: Figures, pattern: str) -> str:
    rows = [(_words(name), value) for name, value in _matching(figures, pattern)]
    return table(("what", "figure"), rows)


def _matching(figures: Figures, pattern: str) -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        match = re.fullmatch(pattern, name)
        if match and "_vs_" not in name:
            yield match[1], value


def _words(name: str) -> str:
    return name.replace("_", " ")


def table(head: Row, rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(shown, line)) + " |" for line in lines)


def shown(value: object) -> str:
    """Return a cell: a figure with three digits that count, text as it is."""
    if not isinstance(value, float):
        return str(value)
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def machine() -> str:
    """Return what kind of machine this is; nothing that tells it from others of its kind."""
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores of {_processor()}, {gigabytes:.0f} GB, {platform.system()},"
        f" {platform.python_implementation()} {platform.python_version()}"
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _versions() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
