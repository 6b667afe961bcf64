"""What the examples' command lines share: the options, and the socket that they listen on."""

from __future__ import annotations

import argparse
import logging
import socket

from rpcguard import Verifier
from rpcguard.contrib.redaction import redacting_filter


def parse(description: str) -> argparse.Namespace:
    """Return the options of the command line."""
    return options(description).parse_args()


def options(description: str) -> argparse.ArgumentParser:
    """Return a parser of the options `port`, `registry`, `recheck` and `access_log`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--port", type=int, default=8000, help="port on 127.0.0.1, 0 for a free one"
    )
    parser.add_argument("--registry", default="examples/registry.yaml", help="path of the registry")
    parser.add_argument(
        "--recheck", type=float, default=30.0, help="seconds between two rechecks of a WebSocket"
    )
    parser.add_argument(
        "--access-log", action="store_true", help="let the server log requests, without their keys"
    )
    return parser


def redact(verifier: Verifier, *loggers: str) -> None:
    """Keep credentials out of what these loggers write."""
    for name in loggers:
        logging.getLogger(name).addFilter(redacting_filter(verifier))


def listen(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1."""
    return socket.create_server(("127.0.0.1", port), backlog=1024)


def ready(listener: socket.socket) -> None:
    """Say that the application accepts connections."""
    print(f"ready http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
