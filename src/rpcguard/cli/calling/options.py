"""The options of `rpcguard token`, `sign` and `call`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints
from urllib.parse import urlsplit

import typer

from rpcguard import strict_json
from rpcguard.cli.calling import commands
from rpcguard.cli.calling.caller import ORDER, WAYS, Caller
from rpcguard.cli.calling.commands import Sent
from rpcguard.cli.parameters import AsJson, one_of
from rpcguard.keys import ALGORITHMS
from rpcguard.registry import grammars

ENCODINGS = ("utf8", "hex", "base64", "base64url")
_WEEK = 7 * 86400.0
_TAKERS = {
    "--claim": ("bearer",),
    "--audience": ("bearer", "meganode-rs256", "allthatnode"),
    "--lifetime": ("bearer", "meganode", "meganode-rs256", "allthatnode"),
    "--auth-key": ("oppiwallet",),
}

Body = Annotated[
    str | None,
    typer.Option("--body-file", metavar="FILE", help="The body; - reads standard input."),
]


def _of_options(
    preset: Annotated[
        str, typer.Option(help=f"{', '.join(WAYS)}.", autocompletion=lambda: list(WAYS))
    ],
    auth: Annotated[
        str | None,
        typer.Option(help="jwt, signature-v2, signature, session or api-key, by preset."),
    ] = None,
    secret_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Secret, private key (PEM, JWK), wallet (id.json, base58) or API key; - reads"
            " standard input.",
        ),
    ] = None,
    secret_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The same, in an environment variable.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help=f"How a secret is written: {', '.join(ENCODINGS)}.")
    ] = None,
    kid: Annotated[str | None, typer.Option(help="Key id.")] = None,
    alg: Annotated[str | None, typer.Option(help="Algorithm; by default that of the key.")] = None,
    audience: Annotated[str | None, typer.Option(help="Value of aud.")] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="For bearer: a claim; VALUE may be JSON."),
    ] = None,
    lifetime: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Of a token, such as 10m; default 1h.")
    ] = None,
    auth_key: Annotated[str | None, typer.Option(help="For oppiwallet: the Auth Key.")] = None,
    bind: Annotated[
        str, typer.Option(metavar="NAMES", help="For oppiwallet: members that the token binds.")
    ] = ",".join(ORDER),
    auth_prefix: Annotated[
        str, typer.Option(metavar="PATH", help="For session: path in front of /auth/challenge.")
    ] = "",
) -> Caller:
    one_of(list(WAYS), preset, "--preset")
    one_of(list(WAYS[preset]), auth, "--auth")
    one_of(list(ENCODINGS), encoding, "--encoding")
    one_of(sorted(ALGORITHMS), alg, "--alg")
    given = {
        "--claim": claim,
        "--audience": audience,
        "--lifetime": lifetime,
        "--auth-key": auth_key,
    }
    for option, takers in _TAKERS.items():
        if given[option] and preset not in takers:  # what has no effect was meant to have one
            raise typer.BadParameter(f"{preset} has none", param_hint=option)
    if (secret_file is None) == (secret_env is None):
        raise typer.BadParameter("one of them", param_hint="--secret-file and --secret-env")
    return Caller(
        preset,
        auth,
        secret_file,
        secret_env,
        encoding,
        kid,
        alg,
        auth_key,
        tuple(bind.split(",")),
        _claims(claim),
        audience,
        _lifetime(lifetime),
        auth_prefix,
    )


def _with_caller(command: Callable[..., None]) -> Callable[..., None]:
    """Return *command*, which takes a `Caller` first, with the options that describe one."""
    shared = inspect.signature(_of_options).parameters
    own = dict(inspect.signature(command).parameters)
    del own["caller"]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        caller = _of_options(**{name: values.pop(name) for name in shared})
        command(caller, **values)

    hints = get_type_hints(_of_options, include_extras=True)
    run.__annotations__ = {**hints, **get_type_hints(command, include_extras=True)}
    keyword = inspect.Parameter.KEYWORD_ONLY
    whole = [one.replace(kind=keyword) for one in (*own.values(), *shared.values())]
    vars(run)["__signature__"] = inspect.Signature(
        [one.replace(annotation=run.__annotations__[one.name]) for one in whole]
    )
    return run


@_with_caller
def token(
    caller: Caller,
    target: Annotated[
        str, typer.Option(metavar="PATH", help="For oppiwallet: where the token goes.")
    ] = "/",
    body_file: Body = None,
    as_json: AsJson = False,
) -> None:
    """Mint a JWT as a provider's document asks for it, and print it."""
    if not target.startswith("/"):
        raise typer.BadParameter("a path begins with /", param_hint="--target")
    _checked(target)
    sent = Sent(target, "POST", _body(body_file, caller))
    raise typer.Exit(commands.token(caller, sent, as_json=as_json))


@_with_caller
def sign(
    caller: Caller,
    url: Annotated[str, typer.Argument(help="URL of the request, or its path alone.")],
    method: Annotated[str, typer.Option(help="Its method.")] = "POST",
    body_file: Body = None,
    as_curl: Annotated[bool, typer.Option("--curl", help="Print a curl command.")] = False,
    as_json: AsJson = False,
) -> None:
    """
    Print the headers that authenticate a request, or a curl command.

    `rpcguard sign ... | curl -H @- -X POST ...` sends them; --curl prints all of it.
    """
    if "://" not in url and (as_curl or not url.startswith("/")):
        wanted = "a whole URL" if as_curl else "a URL, or a path that begins with /"
        raise typer.BadParameter(f"expected {wanted}", param_hint="URL")
    _checked(url)
    sent = Sent(url, method, _body(body_file, caller))
    raise typer.Exit(commands.sign(caller, sent, as_curl=as_curl, as_json=as_json))


@_with_caller
def call(
    caller: Caller,
    url: Annotated[str, typer.Argument(help="The endpoint.")],
    method: Annotated[str, typer.Argument(help="The JSON-RPC method.")],
    params: Annotated[str, typer.Argument(help="Its params: a JSON list or object.")] = "[]",
    timeout: Annotated[
        float | None, typer.Option(min=0.1, max=3600, help="Seconds; default 30.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send a JSON-RPC request with credentials and print its result."""
    _checked(url)
    found = _json(params)
    if not isinstance(found, list | dict):
        raise typer.BadParameter("expected a JSON list or object", param_hint="PARAMS")
    done = commands.call(caller, url, method, found, timeout=timeout, as_json=as_json)
    raise typer.Exit(done)


def _checked(url: str) -> None:
    try:
        urlsplit(url)
    except ValueError:
        raise typer.BadParameter("not a URL", param_hint="URL") from None


def _body(body_file: str | None, caller: Caller) -> str | None:
    if body_file == caller.secret_file == "-":
        raise typer.BadParameter("only one of them", param_hint="standard input")
    return body_file


def _claims(pairs: list[str] | None) -> dict[str, Any]:
    claims = {}
    for pair in pairs or ():
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise typer.BadParameter("expected NAME=VALUE", param_hint="--claim")
        found = _json(value)
        claims[name] = value if found is None and value != "null" else found
    return claims


def _json(text: str) -> Any:
    try:
        return strict_json.loads(text)
    except ValueError:
        return None


def _lifetime(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return max(1, int(grammars.duration(text, _WEEK)))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--lifetime") from None
