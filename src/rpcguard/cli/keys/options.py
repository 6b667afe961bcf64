"""The options of `rpcguard keys`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rpcguard.cli.keys import commands, listing, material
from rpcguard.cli.keys.making import Wanted
from rpcguard.cli.parameters import AsJson, Project, Registry, instant_text, one_of, projects
from rpcguard.keys import ALGORITHMS, RSA_BITS

app = typer.Typer(help="Add, list and remove keys, secrets and API keys.", no_args_is_help=True)


@app.command()
def add(
    registry: Registry,
    project: Project,
    type_: Annotated[
        str | None,
        typer.Option(
            "--type",
            help=f"{', '.join(material.TYPES)}; what suits the project, if left out.",
            autocompletion=lambda: list(material.TYPES),
        ),
    ] = None,
    kid: Annotated[str | None, typer.Option(help="Its id; a UUID, if left out.")] = None,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    alg: Annotated[str | None, typer.Option(help="Its algorithm, such as ES384.")] = None,
    bits: Annotated[
        int, typer.Option(min=RSA_BITS[0], max=RSA_BITS[-1], help="Size of an RSA key.")
    ] = material.RSA_BITS,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Register this PEM public key and make none."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where the private part goes; - prints it. Default: a file in keys/.",
        ),
    ] = None,
    not_before: Annotated[
        str | None, typer.Option(parser=instant_text, metavar="INSTANT", help="When it begins.")
    ] = None,
    not_after: Annotated[
        str | None, typer.Option(parser=instant_text, metavar="INSTANT", help="When it ends.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, register it, and print its kid."""
    one_of(list(material.TYPES), type_, "--type")
    one_of(sorted(ALGORITHMS), alg, "--alg")
    if public_key is not None and out is not None:
        raise typer.BadParameter("a public key has no private part to write", param_hint="--out")
    if "" in (kid, name, out):
        raise typer.BadParameter("must not be empty", param_hint="--kid, --name and --out")
    if "${" in f"{kid} {name}":  # the registry would put a variable or a file there
        raise typer.BadParameter("must not hold ${", param_hint="--kid and --name")
    wanted = Wanted(type_, kid, name, alg, bits, public_key, out, not_before, not_after)
    raise typer.Exit(commands.add(registry, project, wanted, as_json=as_json))


@app.command(name="list")
def list_(
    registry: Registry,
    project: Annotated[
        str | None, typer.Option("--project", help="This project's alone.", autocompletion=projects)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print every key, secret and API key: ids, algorithms, dates; never a secret."""
    raise typer.Exit(listing.list_keys(registry, project, as_json=as_json))


@app.command()
def remove(
    registry: Registry,
    project: Project,
    kid: Annotated[str, typer.Argument(help="Its id.", metavar="KID")],
    as_json: AsJson = False,
) -> None:
    """Take a key out of the registry; every token that it signed ends with it."""
    raise typer.Exit(commands.remove(registry, project, kid, as_json=as_json))
