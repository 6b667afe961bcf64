"""The options of `rpcguard explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from rpcguard.cli.explain.command import Asked
from rpcguard.cli.explain.command import explain as run
from rpcguard.cli.parameters import AsJson, Registry, header, moment, projects


def explain(
    registry: Registry,
    request_file: Annotated[
        str | None,
        typer.Option(
            "--request",
            metavar="FILE",
            help="A request: raw HTTP, a curl command, or JSON; - reads standard input.",
        ),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A token or API key alone; - reads standard input."),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            help="Judge by this project, whatever the path says.", autocompletion=projects
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="PATH", help="With --token-file: where it was sent.")
    ] = None,
    method: Annotated[str, typer.Option(help="With --token-file: how.")] = "POST",
    headers: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME:VALUE", help="With --token-file: more."),
    ] = None,
    body_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The body, byte for byte.")
    ] = None,
    client: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where the request came from.")
    ] = None,
    plain: Annotated[bool, typer.Option("--http", help="It came over plain HTTP.")] = False,
    websocket: Annotated[bool, typer.Option(help="It is a WebSocket handshake.")] = False,
    now: Annotated[
        float | None,
        typer.Option(
            parser=moment,
            metavar="INSTANT",
            help="Judge at this time, such as 2026-12-01T00:00:00Z or Unix seconds.",
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the backend.")] = False,
    as_json: AsJson = False,
) -> None:
    """
    Say why a request is accepted or refused, check by check.

    Every check in its order, the measured skew of clocks, and the answer that a server gives. The
    backend is asked what it knows; nothing is spent. Exit code 0 if the request is accepted.
    """
    if (request_file is None) == (token_file is None):
        raise typer.BadParameter("one of them", param_hint="--request and --token-file")
    if [request_file, token_file, body_file].count("-") > 1:
        raise typer.BadParameter("only one of them", param_hint="standard input")
    if request_file is not None and (target is not None or headers):
        raise typer.BadParameter("the request has its own", param_hint="--target and --header")
    asked = Asked(
        request_file,
        token_file,
        target,
        method,
        tuple(map(header, headers or ())),
        body_file,
        project,
        client,
        plain,
        websocket,
        now,
        offline,
    )
    raise typer.Exit(run(registry, asked, as_json=as_json))
