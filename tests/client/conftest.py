"""The guarded servers of the conformance suite, one per framework."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.recorder import Recorder, recording
from client.site import FRAMEWORKS, Site, running
from rpcguard.client import Wallet


@pytest.fixture(scope="session", params=FRAMEWORKS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with running(request.param, tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="session", params=FRAMEWORKS)
def served_rotating(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with running(request.param, tmp_path_factory.mktemp("rotating"), "rotating") as site:
        yield site


@pytest.fixture
def site(served: Site) -> Site:
    """Each framework's server in turn, with sessions that are not refreshed; its counts at 0."""
    served.seen.clear()
    return served


@pytest.fixture
def rotating(served_rotating: Site) -> Site:
    """Likewise, with refresh tokens."""
    served_rotating.seen.clear()
    return served_rotating


@pytest.fixture
def wallet() -> Wallet:
    """A wallet that nobody else signs in with."""
    return Wallet.generate()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


@pytest.fixture
def elsewhere() -> Iterator[Recorder]:
    """Another origin."""
    with recording() as recorder:
        yield recorder


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    private, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "127.0.0.1")]),
    )
    now = dt.datetime.now(dt.UTC)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(private, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + made.public_bytes(Encoding.PEM))
    return path
