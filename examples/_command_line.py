"""What the examples' command lines share: the options, and the socket that they listen on."""

from __future__ import annotations

import argparse
import socket


def parse(description: str) -> argparse.Namespace:
    """Return the options `port` and `registry`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--port", type=int, default=8000, help="port on 127.0.0.1, 0 for a free one"
    )
    parser.add_argument("--registry", default="examples/registry.yaml", help="path of the registry")
    return parser.parse_args()


def listen(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1."""
    return socket.create_server(("127.0.0.1", port), backlog=1024)


def ready(listener: socket.socket) -> None:
    """Say that the application accepts connections."""
    print(f"ready http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
