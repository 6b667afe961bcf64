"""The commands and their options. What they do stands in modules of their own."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from rpcguard.cli import apikey as apikeys
from rpcguard.cli.calling import options as calling
from rpcguard.cli.check import check as check_registry
from rpcguard.cli.demo.command import demo as run_demo
from rpcguard.cli.demo.command import serve
from rpcguard.cli.demo.servers import FRAMEWORKS
from rpcguard.cli.explain.options import explain
from rpcguard.cli.init import init as make_registry
from rpcguard.cli.keys.options import app as keys
from rpcguard.cli.opened import refuse
from rpcguard.cli.output import complain, say, say_json
from rpcguard.cli.parameters import AsJson, Project, Registry, later
from rpcguard.cli.revoke import Target
from rpcguard.cli.revoke import revoke as revoke_target
from rpcguard.registry.editor import json_schema

INTERRUPTED = 130  # 128 + SIGINT, as shells count

app = typer.Typer(
    name="rpcguard",
    help="Authentication for JSON-RPC endpoints: keep a registry, call with credentials, find out"
    " why a request is refused.",
    epilog="Secrets are read from files, the environment or standard input, never from arguments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, the same on a terminal and on a pipe
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"rpcguard {version('rpcguard')}")
        raise typer.Exit


apikey = typer.Typer(help="Make and end API keys of wallets.", no_args_is_help=True)
app.add_typer(apikey, name="apikey")


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


Wallet = Annotated[str, typer.Option("--subject", help="The wallet's public key.")]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where to make it; made if missing.")],
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a commented registry, a project per preset, and fresh keys."""
    raise typer.Exit(make_registry(directory, force=force, as_json=as_json))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The registry, a YAML file.")],
    as_json: AsJson = False,
) -> None:
    """Print every problem of a registry, or what it holds."""
    raise typer.Exit(check_registry(file, as_json=as_json))


app.add_typer(keys, name="keys")


@app.command()
def schema(as_json: AsJson = False) -> None:
    """Print the JSON Schema of a registry, for editors."""
    del as_json  # it is JSON either way
    say_json(json_schema())


app.command()(calling.token)
app.command()(calling.sign)
app.command()(calling.call)
app.command()(explain)


@app.command()
def revoke(
    registry: Registry,
    project: Project,
    subject: Annotated[
        str | None, typer.Option(help="Everything issued to this subject until now.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Everything that the key of this id proves.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="SID", help="Every token with this sid.")
    ] = None,
    jti: Annotated[
        str | None, typer.Option(help="One token by its jti; name the --key that signed it too.")
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="One token, from a file; - reads standard input."),
    ] = None,
    until: Annotated[
        float | None,
        typer.Option(
            parser=later,
            metavar="INSTANT",
            help="Forget it after this, such as 2026-12-01T00:00:00Z.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    Revoke tokens, sessions, subjects or keys, in every process.

    It counts from the next request on, wherever the backend is shared.
    """
    target = Target(subject, key, session, jti, token_file)
    if len(target.kinds) != 1:
        named = "--subject, --key, --session, --token-file, or --jti with --key"
        raise typer.BadParameter("one of them", param_hint=named)
    if jti is not None and key is None:
        raise typer.BadParameter("it names a token only together with --key", param_hint="--jti")
    raise typer.Exit(revoke_target(registry, project, target, until, as_json=as_json))


@app.command()
def demo(
    serving: Annotated[bool, typer.Option("--serve", help="Leave one server running.")] = False,
    framework: Annotated[
        str | None, typer.Option(help=f"With --serve: {', '.join(FRAMEWORKS)}.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="With --serve; 0 takes a free one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the example servers and show what they accept and refuse."""
    if framework not in (None, *FRAMEWORKS):
        raise typer.BadParameter(f"one of {', '.join(FRAMEWORKS)}", param_hint="--framework")
    if serving:
        raise typer.Exit(serve(framework or FRAMEWORKS[0], port or 0, as_json=as_json))
    if framework is not None or port is not None:
        raise typer.BadParameter("this needs --serve", param_hint="--framework and --port")
    raise typer.Exit(run_demo(as_json=as_json))


@apikey.command()
def create(
    registry: Registry,
    project: Project,
    subject: Wallet,
    expires: Annotated[
        float | None,
        typer.Option(
            parser=later,
            metavar="INSTANT",
            help="When it ends, such as 2026-12-01T00:00:00Z; never, if left out.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a new API key of a wallet, and end its previous one."""
    raise typer.Exit(apikeys.create(registry, project, subject, expires, as_json=as_json))


@apikey.command(name="revoke")
def end(registry: Registry, project: Project, subject: Wallet, as_json: AsJson = False) -> None:
    """End the API key of a wallet."""
    raise typer.Exit(apikeys.revoke(registry, project, subject, as_json=as_json))


@apikey.command()
def digest(as_json: AsJson = False) -> None:
    """Print the digest of the API key on standard input."""
    raise typer.Exit(apikeys.digest(as_json=as_json))


def run() -> int:
    """Run the command that `sys.argv` names and return the exit code; no exception leaves it."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:  # before something is made that is printed once
        complain("standard output is closed")
        return 1
    try:
        if sys.stdin is None:  # closed: there is nothing to read
            sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - as long as we run
        code = _invoke()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; without this the interpreter complains while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(f"{error.strerror or type(error).__name__}: {error.filename or ''}")
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        complain(
            f"unexpected {type(error).__name__}; this is a bug."
            " `python -X dev -m rpcguard …` shows where it comes from."
        )
        return 1
    return code


def _failed(said: str) -> int:
    said = said.rstrip(": ")
    if "--json" in sys.argv:  # the command that would know did not come back
        with contextlib.suppress(OSError):
            return refuse(said, as_json=True)
    return refuse(said, as_json=False)


def _invoke() -> int:
    try:
        typer.main.get_command(app).main(prog_name="rpcguard")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
