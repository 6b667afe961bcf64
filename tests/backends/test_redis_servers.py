"""What a server of Redis must be, how it is found, and how the way to it is made safe."""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
import re
import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import asyncio as redis_asyncio
from redis.crc import key_slot

from backends import redis_servers
from backends.kinds import HERE, START, ask, issue, owe, present
from backends.redis_opened import answered, opened
from backends.redis_proxy import proxied
from backends.redis_servers import Server, raw, until
from rpcguard.backends import redis_scripts
from rpcguard.backends.open import open_backend, open_client
from rpcguard.errors import BackendError, ConfigError
from rpcguard.owed import Answer, Revocation, Verdict

OK, REPLAYED = Answer.OK, Answer.REPLAYED
TOKEN = b"t" * 16


# What a server must be


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_is_refused(
    policy: str, driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    server = serve("--maxmemory", "100mb", "--maxmemory-policy", policy)
    with opened(server.port) as backend:
        with pytest.raises(BackendError, match="maxmemory-policy noeviction"):
            driver(backend, owe("n"), START)
        server.client.config_set("maxmemory-policy", "noeviction")
        assert driver(backend, owe("n", issued_at=START + 1), START) is OK
    url = f"redis://127.0.0.1:{server.port}?timeout=5s"
    open_backend(url, now=START, base=Path(), must_answer=True).close()
    server.client.config_set("maxmemory-policy", policy)
    with pytest.raises(ConfigError, match="noeviction"):
        open_backend(url, now=START, base=Path(), must_answer=True)


DOCS = Path(__file__).parents[2] / "docs" / "operators.md"


def test_the_permissions_in_the_docs_are_enough_and_info_is_needed(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    line, _ = [each for each in DOCS.read_text().splitlines() if each.startswith("ACL SETUSER")]
    server = serve()
    words = line.replace(">PASSWORD", ">hunter2").split()
    raw(server, *words)
    url = f"redis://rpcguard:hunter2@127.0.0.1:{server.port}"
    with opened(url) as backend:
        assert driver(backend, owe("n", revocable=(TOKEN,)), START) is OK
        assert backend.put(issue("a"), START) is OK
        assert backend.rotate(issue("a").name, issue("b"), START).verdict is Verdict.OK
        assert backend.drop(HERE, issue("b").slot, START)
        assert backend.spent("p", "s", [owe("n").nonce.name], START)
        backend.revoke([Revocation(TOKEN)], START)
        assert driver(backend, ask(TOKEN), START) is Answer.REVOKED
    raw(server, "ACL", "SETUSER", "rpcguard", "-info")
    with opened(url) as backend, pytest.raises(BackendError, match=r"\+info"):
        driver(backend, owe("m"), START)


def test_the_permissions_in_the_docs_name_what_the_scripts_call_and_no_more() -> None:
    line, _ = [each for each in DOCS.read_text().splitlines() if each.startswith("ACL SETUSER")]
    permitted = {each.removeprefix("+") for each in line.split() if each.startswith("+")}
    files = (Path(redis_scripts.__file__).parent / "lua").glob("*.lua")
    texts = "".join(each.read_text() for each in files)
    called = {each.lower() for each in re.findall(r"redis\.p?call\(\s*'(\w+)'", texts)}
    assert len(re.findall(r"redis\.p?call\b", texts)) == len(
        re.findall(r"redis\.p?call\(\s*'", texts)
    )
    by_us = {"evalsha", "eval", "info", "wait", "asking", "cluster|slots", "select"}
    assert permitted == called | by_us


def test_a_wrong_password_is_a_refusal_that_shows_none(
    driver: Callable[..., Answer], serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    server.client.config_set("requirepass", "secret-1")
    with (
        caplog.at_level(logging.DEBUG),
        opened(f"redis://:secret-2@127.0.0.1:{server.port}") as it,
        pytest.raises(BackendError, match="user and password") as caught,
    ):
        driver(it, owe("n"), START)
    assert "secret-" not in caplog.text + repr(caught.value) + repr(it)
    with opened(f"redis://127.0.0.1:{server.port}") as it, pytest.raises(BackendError):
        driver(it, owe("n"), START)
    with opened(f"redis://:secret-1@127.0.0.1:{server.port}") as it:
        assert driver(it, owe("n", issued_at=START + 1), START) is OK


def test_a_url_of_the_wrong_kind_is_told_apart(driver: Callable[..., Answer]) -> None:
    node = redis_servers.cluster().primaries
    refusals = []
    for url in (
        f"redis://127.0.0.1:{node[0].port}",
        f"redis+cluster://127.0.0.1:{redis_servers.single().port}",
        f"redis+sentinel://127.0.0.1:{redis_servers.single().port}/main",
        f"redis+sentinel://127.0.0.1:{redis_servers.trio().sentinels[0].port}/other",
    ):
        with opened(url) as backend:
            for number in range(3):
                with pytest.raises(BackendError) as caught:
                    for subject in map(str, range(20)):
                        driver(backend, owe(str(number), subject=subject), START)
            refusals.append(str(caught.value))
    assert "redis+cluster://" in refusals[0]


def test_a_socket_of_the_machine_can_be_used(
    driver: Callable[..., Answer], serve: Callable[..., Server], tmp_path: Path
) -> None:
    serve("--unixsocket", str(tmp_path / "s"))
    with opened(f"redis+unix://{tmp_path}/s") as backend:
        assert driver(backend, owe("n"), START) is OK
        assert driver(backend, owe("n"), START) is REPLAYED


def test_a_replica_answers_nothing(driver: Callable[..., Answer]) -> None:
    trio = redis_servers.trio()
    replica = next(each for each in trio.servers if each is not trio.primary())
    with opened(replica.port) as backend:
        for owed in (owe("n"), ask(TOKEN), present("a")):
            with pytest.raises(BackendError, match="the server is a replica"):
                driver(backend, owed, START)
        with pytest.raises(BackendError, match="the server is a replica"):
            backend.epoch(HERE)


# Replicas


def test_what_too_few_replicas_have_confirmed_is_refused_and_stays_spent(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    primary = serve()
    replica = serve("--replicaof", "127.0.0.1", str(primary.port))
    until(lambda: replica.client.info("replication")["master_link_status"] == "up", "a replica")
    with opened(primary.port, min_replicas=1, timeout="4s") as backend:
        assert answered(lambda: driver(backend, owe("n"), START)) in (OK, REPLAYED)
        assert driver(backend, ask(TOKEN), START) is OK
        assert backend.put(issue("z"), START) is OK
        backend.revoke([Revocation(b"z", bucket=HERE)], START)
        replica.pause()
        with pytest.raises(BackendError, match="0 of 1 replicas|no answer in time"):
            driver(backend, owe("m"), START)
        with pytest.raises(BackendError, match="0 of 1 replicas|no answer in time"):
            backend.revoke([Revocation(TOKEN, bucket=HERE)], START)
        with pytest.raises(BackendError, match="0 of 1 replicas|no answer in time"):
            backend.put(issue("a"), START)
        assert driver(backend, ask(b"o" * 16), START) is OK  # it writes nothing
        replica.resume()
        assert driver(backend, owe("m"), START) is REPLAYED


# Finding servers


def test_where_nobody_says_in_time_who_is_the_primary_the_question_is_refused(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    silent = serve()
    silent.pause()
    with opened(f"redis+sentinel://127.0.0.1:{silent.port}/main", timeout="250ms") as backend:
        for _ in range(2):
            with pytest.raises(BackendError, match="where the primary is"):
                driver(backend, owe("n"), START)


def test_a_sentinel_that_is_silent_or_gone_is_passed_over(
    driver: Callable[..., Answer], serve: Callable[..., Server], prefix: str
) -> None:
    silent, gone = serve(), serve()
    silent.pause()
    gone.kill()
    good = redis_servers.trio().sentinels[0].port
    hosts = ",".join(f"127.0.0.1:{port}" for port in (gone.port, silent.port, good))
    url = f"redis+sentinel://{hosts}/{redis_servers.SERVICE}"
    with opened(url, key_prefix=prefix, timeout="5s") as backend:
        found = answered(lambda: driver(backend, owe("n"), START))
        assert found in (OK, REPLAYED)
        assert driver(backend, owe("m"), START) is OK


def test_a_server_that_has_a_quiet_bucket_back_refuses_what_it_may_have_lost_meanwhile(
    driver: Callable[..., Answer], serve: Callable[..., Server]
) -> None:
    first, second = serve(), serve()
    configuration = f"sentinel monitor main 127.0.0.1 {first.port} 1\n"
    sentinel = Server(sentinel=configuration).start()
    quiet, elsewhere = owe("quiet", issued_at=START + 1), owe("m", subject="another")
    state = f"{{rpcguard:{HERE:02x}}}:state"

    def follow(primary: Server, replica: Server) -> None:
        raw(sentinel, "SENTINEL", "REMOVE", "main")
        raw(primary, "REPLICAOF", "NO", "ONE")
        raw(replica, "REPLICAOF", "127.0.0.1", primary.port)
        raw(sentinel, "SENTINEL", "MONITOR", "main", "127.0.0.1", primary.port, 1)
        status = "master_link_status"
        until(lambda: replica.client.info("replication")[status] == "up", "the replica is up")

    def knows_who_has_it(copy: Server, primary: Server) -> bool:
        answered(lambda: driver(backend, elsewhere, START + 1))
        name = primary.client.info("server")["run_id"].encode("ascii")
        return raw(copy, "HGET", state, "server") == name

    try:
        with opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/main") as backend:
            assert answered(lambda: driver(backend, owe("n"), START)) in (OK, REPLAYED)
            follow(first, second)
            until(lambda: raw(second, "EXISTS", state), "the state is copied")
            raw(second, "REPLICAOF", "NO", "ONE")
            assert driver(backend, quiet, START + 1) is OK  # which `second` never hears of
            follow(second, first)
            until(lambda: knows_who_has_it(first, second), "the quiet bucket knows who has it")
            assert {each.port for each in backend._threads._pools} == {second.port}
            follow(first, second)
            assert answered(lambda: driver(backend, quiet, START + 2)) is Answer.FORGOTTEN
    finally:
        sentinel.clear_away()


def test_a_bucket_whose_keys_are_half_moved_is_refused_until_they_are_one(
    driver: Callable[..., Answer], prefix: str
) -> None:
    cluster = redis_servers.cluster()
    slot = key_slot(f"{{{prefix}:{HERE:02x}}}".encode())
    source = cluster.holder(slot)
    target = next(each for each in cluster.primaries if each is not source)
    with opened(cluster.url, key_prefix=prefix) as backend:
        assert driver(backend, owe("n"), START) is OK
        raw(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", raw(source, "CLUSTER", "MYID"))
        raw(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", raw(target, "CLUSTER", "MYID"))
        try:
            with pytest.raises(BackendError, match="being moved"):
                driver(backend, owe("m"), START)
        finally:
            for node in (source, target):
                raw(node, "CLUSTER", "SETSLOT", slot, "STABLE")
        assert driver(backend, owe("n"), START) is REPLAYED
        assert driver(backend, owe("m"), START) is OK


@pytest.mark.parametrize("module", [redis, redis_asyncio], ids=lambda module: module.__name__)
def test_a_ready_client_of_a_cluster_leads_to_it(
    driver: Callable[..., Answer], module: Any, prefix: str
) -> None:
    client = module.RedisCluster(host="127.0.0.1", port=redis_servers.cluster().primaries[0].port)
    with closing(open_client(client, now=START)) as backend:
        for number in range(10):
            owed = owe(f"{prefix} {number}", subject=f"{prefix} {number}")
            assert driver(backend, owed, START) is OK
            assert driver(backend, owed, START) is REPLAYED
    if module is redis:
        client.close()


# Encryption


def test_an_encrypted_connection_needs_a_certificate_that_is_good(
    driver: Callable[..., Answer], prefix: str, tmp_path: Path
) -> None:
    good = certificate(tmp_path / "good", "127.0.0.1")
    other = certificate(tmp_path / "other", "10.0.0.1")
    server = redis_servers.single()
    for one, ca, check_hostname, refused in (
        (good, good, "true", False),
        (other, good, "true", True),  # signed by somebody else
        (other, other, "true", True),  # for somebody else
        (other, other, "false", False),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(one / "cert.pem", one / "key.pem")
        tls = {"ssl_ca_certs": ca / "cert.pem", "ssl_check_hostname": check_hostname}
        with proxied(server.port, context) as proxy:
            url = f"rediss://127.0.0.1:{proxy.port}"
            with opened(url, key_prefix=f"{prefix[-40:]}.{proxy.port}", **tls) as backend:
                if refused:
                    with pytest.raises(BackendError, match="the connection failed"):
                        driver(backend, owe("n"), START)
                else:
                    assert driver(backend, owe("n"), START) is OK
                    assert driver(backend, owe("n"), START) is REPLAYED


def certificate(directory: Path, address: str) -> Path:
    """Make a certificate for *address* that is its own authority."""
    directory.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return directory
