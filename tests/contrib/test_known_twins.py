"""
The same raw requests to two servers of one application, one of whose verifiers never takes the
short way because somebody listens to it: the same answer to each; see `twins`.
"""

from __future__ import annotations

from typing import Any

import pytest
from twins import CHANGES, Ask, Twins, usual

from contrib.test_known_requests import SERVERS, _seen
from contrib.wire import HANDSHAKE, request

# What an adapter alone sees, beside what a verifier is asked
OF_SERVERS: list[dict[str, Any]] = [
    *({"target": f"/{each}/one"} for each in ("mnt", "twice", "narrow")),
    *({"target": f"/one/{each}"} for each in ("first", "stream")),
    *({"hosts": [("Host", each)]} for each in ("rpc.example:80", "RPC.example", "  rpc.example\t")),
    *({"more": each} for each in ([("Upgrade", "websocket")], HANDSHAKE, [("Upgrade", "h2c")])),
    *({"word": each} for each in ("  Bearer ", "Bearer  ", "Bearer\t")),
]
BY_ITSELF = {"facts", "asked", "now"}  # what no client can say
# An empty target leaves no request line.
CASES = [
    each
    for each in (*CHANGES, *OF_SERVERS)
    if not each.keys() & BY_ITSELF and each.get("target") != ""
]


@pytest.mark.parametrize("project", ["plain", "one secret"])
@pytest.mark.parametrize("framework", SERVERS)
def test_both_servers_give_the_same_answer(framework: str, project: str) -> None:
    with Twins.of(project) as twins:
        serve = SERVERS[framework]
        with serve(twins.short) as short, serve(twins.long) as long:

            def ask(asked: Ask) -> int:
                raw = asked.request()
                headers = list(raw.headers)
                answers = [request(port, "POST", raw.target, headers) for port in (short, long)]
                assert _seen(answers[0]) == _seen(answers[1]), asked
                return answers[0].status

            assert [ask(usual(project)) for _ in range(2)] == [200, 200]
            for case in CASES:
                ask(usual(project).but(case))
                ask(usual(project))
