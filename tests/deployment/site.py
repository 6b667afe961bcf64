"""
A machine laid out as examples/operations says, below a temporary directory.

Every file is taken as it stands; only the absolute paths in it lead below the directory, nginx
listens on a free port of 127.0.0.1, nothing runs as another user, and the SQLite file is waited for
as long as a busy machine may need.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import http.client
import ipaddress
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from backends.redis_servers import free_port, until
from contrib.credentials import API_KEY, MEGANODE_SECRET
from contrib.wire import Answer, Headers
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

EXAMPLES = Path(__file__).parents[2] / "examples"
OPERATIONS = EXAMPLES / "operations"
SESSION_SECRET = "a session secret of more than 32 bytes"
HOST = "rpc.example.com"

# A project besides those of the shipped registry, for one address alone.
OFFICE = """\
  office:
    preset: meganode
    match: {path: /office}
    secrets: [{id: current, secret: "${file:secrets/bsc}"}]
    allow: {ips: [127.0.0.2/32]}
"""
MAIN = """\
daemon off;
%s
pid %s/nginx.pid;
error_log %s error;
events {}
http {
    client_body_temp_path %s/body;
    proxy_temp_path %s/proxy;
    fastcgi_temp_path %s/fastcgi;
    uwsgi_temp_path %s/uwsgi;
    scgi_temp_path %s/scgi;
    include %s;
}
"""


@dataclass
class Site:
    """
    The directory, and where nginx listens.

    Attributes:
        root: What the absolute paths of the files lead to.
        port: nginx's.
    """

    root: Path
    port: int = 0

    def placed(self, text: str) -> str:
        """Return *text* with its absolute paths below the root."""
        for path in ("/etc/rpcguard", "/etc/ssl/rpcguard", "/run/rpcguard", "/var/lib/rpcguard"):
            text = text.replace(path, f"{self.root}{path}")
        return (
            text.replace("/var/log/nginx", f"{self.root}/var/log/nginx")
            .replace("/opt/rpcguard/examples", f"{self.root}/opt/examples")
            .replace("/opt/rpcguard/venv/bin", str(Path(sys.executable).parent))
        )

    def path(self, name: str) -> Path:
        """Return where an absolute path leads."""
        return Path(self.placed(name))

    @property
    def unix(self) -> str:
        """The socket of the application."""
        return str(self.path("/run/rpcguard/rpcguard.sock"))

    def written(self) -> str:
        """Return all that nginx and the application have logged."""
        files = [*self.path("/var/log/nginx").iterdir(), *self.root.glob("*.out")]
        return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)

    def request(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        source: str = "127.0.0.1",
    ) -> Answer:
        """Send one request to nginx, the target as it is, from the address *source*."""
        client = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=60, source_address=(source, 0), context=self.trusting()
        )
        try:
            client.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in [("Host", HOST), *headers, ("Content-Length", str(len(body)))]:
                client.putheader(name, value)
            client.endheaders()
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before it was all sent
                client.send(body)
            answer = client.getresponse()
            return Answer(answer.status, list(answer.headers.items()), answer.read())
        finally:
            client.close()

    def trusting(self) -> ssl.SSLContext:
        """Return a context that trusts nginx's certificate."""
        return ssl.create_default_context(cafile=str(self.path("/etc/ssl/rpcguard/fullchain.pem")))


@contextmanager
def site() -> Iterator[Site]:
    """Lay the files out; gives the site, where nothing runs yet."""
    # Not pytest's directory: the path of a Unix socket has 107 bytes at most
    with tempfile.TemporaryDirectory(prefix="rpcguard-") as root:
        made = Site(Path(root))
        for name in ("/etc/ssl/rpcguard", "/run/rpcguard", "/var/lib/rpcguard", "/var/log/nginx"):
            made.path(name).mkdir(parents=True)
        (made.root / "opt").mkdir()
        shutil.copytree(EXAMPLES, made.root / "opt/examples")
        for file in (made.root / "opt/examples/operations").iterdir():
            if file.suffix in (".env", ".py", ".conf"):
                file.write_text(made.placed(file.read_text()))
        _write_registry(made)
        _write_certificate(made.path("/etc/ssl/rpcguard"))
        yield made


def _write_registry(made: Site) -> None:
    folder = made.path("/etc/rpcguard")
    (folder / "secrets").mkdir(parents=True)
    text = (OPERATIONS / "registry.yaml").read_text()
    text, count = re.subn(r"(?<=/rpcguard\.db)(?= )", "?timeout=10s", made.placed(text))
    assert count == 1
    (folder / "registry.yaml").write_text(text + OFFICE)
    digest = hashlib.sha256(API_KEY.encode()).hexdigest()
    secrets = {
        "bsc": MEGANODE_SECRET,
        "bsc-ops.digest": f"sha256:{digest}",
        "session": SESSION_SECRET,
    }
    for name, secret in secrets.items():
        (folder / "secrets" / name).touch(0o600)
        (folder / "secrets" / name).write_text(secret)


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    names = x509.SubjectAlternativeName(
        [x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@contextmanager
def nginx(made: Site) -> Iterator[None]:
    """Run nginx with examples/operations/nginx.conf."""
    made.port = free_port()
    root = made.root
    text = made.placed((OPERATIONS / "nginx.conf").read_text())
    text, count = re.subn(r"listen 443 ssl;", f"listen 127.0.0.1:{made.port} ssl;", text)
    assert count == 1
    (root / "rpcguard.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    main = root / "var/log/nginx/error.log"
    (root / "nginx.conf").write_text(
        MAIN % (user, root, main, root, root, root, root, root, root / "rpcguard.conf")
    )
    program = shutil.which("nginx")
    assert program is not None
    command = [program, "-p", str(root), "-e", str(main), "-c", str(root / "nginx.conf")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr
    with _running(made, "nginx", command):
        until(lambda: _connects(("127.0.0.1", made.port)), "nginx listens")
        yield


def unit(made: Site, *drop_ins: str) -> dict[str, list[str]]:
    """Return the settings of the unit with drop-ins over it: every value of each, resets heeded."""
    settings: dict[str, list[str]] = {}
    for name in ("rpcguard.service", *drop_ins):
        for line in made.placed((OPERATIONS / name).read_text()).splitlines():
            if re.match(r"\w+=", line):
                key, _, value = line.partition("=")
                settings[key] = [*settings.get(key, []), value] if value else []
    return settings


@contextmanager
def application(made: Site, *drop_ins: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run what the unit runs, in its directory and with its environment."""
    settings = unit(made, *drop_ins)
    environ = dict(os.environ)
    lines = settings["Environment"] + [
        line
        for file in settings["EnvironmentFile"]
        for line in Path(file).read_text().splitlines()
        if line and not line.startswith("#")
    ]
    environ.update(line.split("=", 1) for line in lines)
    (folder,) = settings["WorkingDirectory"]
    for command in settings["ExecStartPre"]:
        subprocess.run(shlex.split(command), cwd=folder, env=environ, check=True, timeout=60)
    (command,) = settings["ExecStart"]
    with _running(made, "application", shlex.split(command), folder, environ) as process:
        until(lambda: _connects(made.unix), "the application listens")
        yield process


def _connects(address: str | tuple[str, int]) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        return client.connect_ex(address) == 0


@contextmanager
def _running(
    made: Site,
    name: str,
    command: list[str],
    folder: str | None = None,
    environ: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    with ExitStack() as stack:
        out = stack.enter_context((made.root / f"{name}.out").open("wb"))
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=environ)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


def unix_request(path: str, method: str, target: str, headers: Headers, body: bytes) -> Answer:
    """Send one request past nginx, to the application's socket."""
    client = http.client.HTTPConnection(HOST, timeout=60)
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.settimeout(60)
    try:
        client.sock.connect(path)
        client.request(method, target, body, dict(headers))
        answer = client.getresponse()
        return Answer(answer.status, list(answer.headers.items()), answer.read())
    finally:
        client.close()
