"""`rpcguard token`, `sign` and `call`: what they make is accepted by a real server."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rpcguard.client.wallet import Wallet

EXAMPLE = Path(__file__).parents[2] / "examples" / "flask_app.py"
ORDER = '{"jsonrpc":"2.0","id":1,"method":"rpcguard_whoami","currency":"USD","amount":1.5,"orderId":"o"}'
WHOAMI = '{"jsonrpc":"2.0","id":1,"method":"rpcguard_whoami"}'

# How the caller of each project of the starter registry proves themselves.
PROJECTS = {
    "bsc": ("/v1/", ["--preset", "meganode", "--secret-file", "bsc.secret"]),
    "bsc-rs256": ("/v2", ["--preset", "meganode-rs256", "--kid", "bsc-2026", "--secret-file", "bsc-rs256.pem"]),
    "evm": (
        "/evm",
        ["--preset", "allthatnode", "--kid", "54f26cb4-15a9-11ee-a1d8-0a58538e0d0c", "--secret-file", "evm-ci.pem"],
    ),
    "engine": ("/engine", ["--preset", "engine-api", "--secret-file", "engine.hex"]),
    "bots": (
        "/bots",
        ["--preset", "bearer", "--kid", "bots-2026", "--audience", "bots", "--claim", "sub=bot-7",
         "--claim", "iss=https://id.example.com", "--claim", "n=1", "--secret-file", "bots.pem"],
    ),
    "payouts": (
        "/payouts/withdraw",
        ["--preset", "oppiwallet", "--auth-key", "merchant-1", "--secret-file", "payouts.enc-key"],
    ),
    "solana": ("/solana", ["--preset", "nodius", "--secret-file", "solana.json"]),
    "solana-2026": ("/solana-2026", ["--preset", "nodius-2026", "--secret-file", "solana-2026.json"]),
}  # fmt: skip
WITH_TOKENS = ["bsc", "bsc-rs256", "evm", "engine", "bots", "payouts"]
BEARERS = [name for name in WITH_TOKENS if name != "payouts"]


@pytest.fixture(scope="module")
def served(initial, tmp_path_factory):
    """The directory of a starter registry, and the URL of a server on it."""
    directory = Path(shutil.copytree(initial, tmp_path_factory.mktemp("served") / "shop"))
    command = [
        sys.executable,
        str(EXAMPLE),
        "--port",
        "0",
        "--registry",
        str(directory / "registry.yaml"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready http://"), line
            yield directory, line.split()[1]
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def keyed(cli, served):
    """Run a command with the options of a project's caller, in the directory of its keys."""
    directory, url = served

    def run(verb: str, *arguments: str, project: str, more=(), **options):
        target, proof = PROJECTS[project]
        proof = [
            str(directory / "keys" / word) if "." in word and "/" not in word else word
            for word in proof
        ]
        words = [
            word.replace("{url}", url + target).replace("{target}", target) for word in arguments
        ]
        return cli(verb, *words, *proof, *more, **options)

    return run


def whoami(told) -> dict:
    assert told.returncode == 0, told.stdout + told.stderr
    return json.loads(told.stdout)


@pytest.mark.parametrize("project", [*BEARERS, "solana", "solana-2026"])
def test_a_call_is_accepted_and_its_result_printed(keyed, project):
    told = keyed("call", "{url}", "rpcguard_whoami", project=project)
    assert whoami(told)["project"] == project
    assert told.stderr == ""


def test_a_session_signs_in_calls_and_signs_out(keyed, served):
    told = keyed("call", "{url}", "rpcguard_whoami", "--auth", "session", project="solana")
    assert whoami(told)["scheme"] == "session"


def test_an_api_key_is_sent_where_the_preset_reads_it(keyed, cli, served):
    directory, url = served
    key = json.loads((directory / "credentials.json").read_text())["projects"]["bsc"]["api_key"]
    options = ["--preset", "meganode", "--auth", "api-key", "--secret-env", "BSC_KEY"]
    told = cli("call", f"{url}/v1/", "rpcguard_whoami", *options, env={"BSC_KEY": key})
    assert whoami(told)["scheme"] == "api_key"
    made = cli(
        "keys",
        "add",
        directory / "registry.yaml",
        "--project",
        "bots",
        "--type",
        "api-key",
        "--out",
        "-",
    )
    options = ["--preset", "bearer", "--auth", "api-key", "--secret-file", "-"]
    told = cli("sign", "/bots", *options, input=made.stdout)
    assert told.stdout == f"X-Api-Key: {made.stdout}"


@pytest.mark.parametrize("project", [*WITH_TOKENS, "solana", "solana-2026"])
@pytest.mark.curl
def test_a_printed_curl_command_is_accepted_when_pasted(keyed, served, tmp_path, project):
    body = ORDER if project == "payouts" else WHOAMI
    (tmp_path / "body.json").write_text(body)
    told = keyed("sign", "{url}", "--curl", "--body-file", "body.json", project=project)
    assert told.returncode == 0, told.stderr
    done = subprocess.run(
        told.stdout, shell=True, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    answer = json.loads(done.stdout)
    assert answer["result"]["project"] == project


def test_explain_takes_a_printed_curl_command_with_its_body(keyed, cli, served, tmp_path):
    directory, _ = served
    (tmp_path / "body.json").write_text(WHOAMI)
    told = keyed("sign", "{url}", "--curl", "--body-file", "body.json", project="solana")
    explain = ["explain", directory / "registry.yaml", "--request", "-", "--offline", "--json"]
    missing = json.loads(cli(*explain, input=told.stdout).stdout)
    assert (missing["verdict"], "--body-file" in missing["missing"]) == ("undecided", True)
    told = cli(*explain, "--body-file", "body.json", input=told.stdout)
    assert json.loads(told.stdout)["verdict"] == "accepted"


@pytest.mark.parametrize("project", BEARERS)
def test_a_minted_token_is_what_explain_accepts(keyed, cli, served, project):
    directory, _ = served
    token = keyed("token", project=project).stdout.strip()
    arguments = ["explain", directory / "registry.yaml", "--token-file", "-", "--project", project]
    told = cli(
        *arguments,
        "--offline",
        "--json",
        *(["--body-file", directory / "registry.yaml"] if project == "bots" else []),
        input=token,
    )
    document = json.loads(told.stdout)
    if project == "bots":  # its policy reads the body, which is none
        assert document["reason"] == "invalid_body"
    else:
        assert document["verdict"] == "accepted"


def test_a_token_is_bound_to_its_order(keyed):
    told = keyed(
        "token",
        "--target",
        "{target}",
        "--body-file",
        "-",
        "--json",
        project="payouts",
        input=ORDER,
    )
    assert len(json.loads(told.stdout)["token"].split(".")) == 3


def test_sign_prints_one_header_a_line(keyed, served):
    told = keyed("sign", "/solana?x=1", project="solana", input="")
    headers = dict(line.split(": ") for line in told.stdout.splitlines())
    assert headers["X-Http-Path"] == "/solana?x=1"
    assert headers["X-Auth-Version"] == "2"
    told = keyed("sign", "/solana", "--auth", "signature", "--json", project="solana")
    assert "X-Auth-Version" not in json.loads(told.stdout)["headers"]


def test_a_body_on_standard_input_is_in_the_command(keyed):
    told = keyed("sign", "{url}", "--curl", "--body-file", "-", project="evm", input="it's")
    assert shlex.split(told.stdout)[-2:] == ["--data-raw", "it's"]
    lines = '{"é":\n\t1}\n'
    told = keyed("sign", "{url}", "--curl", "--body-file", "-", project="evm", input=lines)
    assert shlex.split(told.stdout)[-2:] == ["--data-raw", lines]
    told = keyed("sign", "{url}", "--curl", "--body-file", "-", project="evm", input="\x1b[2J")
    assert (told.returncode, told.stdout) == (1, "")
    assert "control characters" in told.stderr


@pytest.mark.parametrize("form", ["id.json", "base58", "hex", "pem", "jwk"])
def test_a_wallet_is_read_in_each_of_its_forms(cli, tmp_path, form):
    wallet = Wallet(bytes(range(32)))
    texts = {
        "id.json": json.dumps(list(wallet.secret_key)),
        "base58": wallet.secret_key_base58,
        "hex": bytes(range(32)).hex(),
    }
    if form in ("pem", "jwk"):
        from cryptography.hazmat.primitives import serialization as ser
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from jwt.algorithms import OKPAlgorithm

        private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        pem = private.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
        texts |= {"pem": pem.decode(), "jwk": OKPAlgorithm.to_jwk(private)}
    (tmp_path / "key").write_text(texts[form] + "\n")
    coding = ["--encoding", "hex"] if form == "hex" else []
    told = cli("sign", "/", "--preset", "nodius", "--secret-file", "key", *coding)
    assert f"X-Pubkey: {wallet.pubkey}\n" in told.stdout


def test_a_refusal_is_exit_code_1_with_the_answer(keyed, cli, served):
    _, url = served
    told = cli(
        "call", f"{url}/v1/", "x", "--preset", "meganode", "--secret-env", "S", env={"S": "x" * 32}
    )
    assert told.returncode == 1
    assert told.stderr == "rpcguard: refused: HTTP 401\n"
    assert json.loads(told.stdout)["error"]["data"]["reason"] == "invalid_credentials"
    told = keyed("call", "{url}", "no_such_method", "--json", project="evm")
    assert told.returncode == 1
    assert json.loads(told.stdout)["answer"]["error"]["code"] == -32601
    told = cli("call", f"{url}/evm", "x", "--preset", "nodius", "--auth", "session", "--secret-env", "S",
               "--auth-prefix", "/nowhere", env={"S": Wallet.generate().secret_key_base58})  # fmt: skip
    assert told.returncode == 1
    assert "cannot sign in: HTTP 403 no_project" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["token", "--preset", "meganode", "--secret-env", "NOTHING"], "", "NOTHING is empty"),
        (["token", "--preset", "meganode", "--secret-file", "missing"], "", "No such file"),
        (["token", "--preset", "meganode", "--secret-file", "-"], "x" * 70_000, "too long"),
        (["token", "--preset", "meganode", "--secret-file", "-"], "\udcff", "is no text"),
        (["token", "--preset", "engine-api", "--secret-file", "-"], "no hex", "not hex"),
        (["token", "--preset", "allthatnode", "--secret-file", "-"], "-----BEGIN", "PEM"),
        (["token", "--preset", "bearer", "--secret-file", "-"], '{"kty":"x"}', "kty"),
        (["token", "--preset", "nodius", "--secret-file", "-"], "x", "no tokens to mint"),
        (["token", "--preset", "oppiwallet", "--secret-file", "-"], "x" * 32, "--auth-key"),
        (["token", "--preset", "oppiwallet", "--auth-key", "a", "--secret-file", "-"], "x" * 32, "not JSON"),
        (["sign", "/", "--preset", "nodius", "--secret-file", "-"], "[1, 2]", "secret key"),
        (["sign", "/", "--preset", "nodius", "--secret-file", "-"], "0OIl", "base58"),
        (["sign", "/", "--preset", "nodius", "--auth", "session", "--secret-file", "-"], "[1]", "secret key"),
        (["sign", "/", "--preset", "meganode", "--auth", "api-key", "--secret-file", "-"], "k", "say --curl"),
        (["call", "http://127.0.0.1:1/", "x", "--preset", "meganode", "--secret-file", "-"], "x" * 32, "ConnectError"),
        (["call", "nowhere", "x", "--preset", "meganode", "--secret-file", "-"], "x" * 32, "http"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_exit_code_1_without_the_secret(cli, arguments, given, said):
    told = cli(*arguments, input=given, errors="surrogateescape")
    assert (told.returncode, told.stdout) == (1, "")
    assert said in told.stderr
    assert "Traceback" not in told.stderr
    assert len(given) < 5 or given not in told.stderr


def test_a_session_is_nothing_to_print(cli, tmp_path):
    key = Wallet.generate().secret_key_base58
    told = cli(
        "sign", "/", "--preset", "nodius", "--auth", "session", "--secret-file", "-", input=key
    )
    assert told.returncode == 1
    assert "see `rpcguard call`" in told.stderr


def test_no_secret_is_among_the_arguments(cli):
    for verb in ("token", "sign", "call"):
        told = cli(verb, "--help").stdout
        assert "--secret-file" in told
        assert "--secret " not in told
    assert os.environ.get("RPCGUARD_SECRET") is None
