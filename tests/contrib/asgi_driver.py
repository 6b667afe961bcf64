"""Calls an ASGI application directly, with scopes that no installed server makes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from contrib.wire import Headers

Message = dict[str, Any]


@dataclass
class Outcome:
    """What the application sent."""

    sent: list[Message] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        """The types of the messages."""
        return [message["type"] for message in self.sent]

    @property
    def status(self) -> int:
        """The status of the response."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def body(self) -> bytes:
        """The body of the response."""
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The refusal's reason."""
        reason: str = self.json["error"]["data"]["reason"]
        return reason


def body_messages(*chunks: bytes) -> list[Message]:
    """Return the messages of a body in chunks."""
    last = len(chunks) - 1
    return [
        {"type": "http.request", "body": chunk, "more_body": index < last}
        for index, chunk in enumerate(chunks)
    ]


def call(
    app: Any,
    path: str,
    headers: Headers = (),  # type: ignore[assignment]
    messages: Iterable[Message] = (),
    **scope: Any,
) -> Outcome:
    """
    Run one request through *app*; after *messages* the client is gone.

    Args:
        app: The application.
        path: The decoded path; `raw_path` is the same unless *scope* says otherwise.
        headers: Header fields.
        messages: What `receive` gives.
        scope: What to change in the scope; a member that is `...` is left out.
    """
    full = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        **scope,
    }
    full = {name: value for name, value in full.items() if value is not ...}
    waiting = list(messages)
    kind = "http" if full["type"] == "http" else "websocket"
    outcome = Outcome()

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": f"{kind}.disconnect", "code": 1006}

    async def send(message: Message) -> None:
        outcome.sent.append(message)

    asyncio.run(asyncio.wait_for(app(full, receive, send), 60))
    return outcome
