"""
gunicorn's settings for a Flask application behind rpcguard and nginx.

Tried in tests/deployment/test_nginx.py, two workers behind a real nginx.
"""

from __future__ import annotations

bind = "unix:/run/rpcguard/rpcguard.sock"
umask = 0o007  # of the socket: nginx is in the group
workers = 2  # one for each core
# Threads: flask-sock takes the connection over, and one thread serves one WebSocket. A silent
# client cannot hold one with a slow body, because nginx sends a request when it has it all.
worker_class = "gthread"
threads = 32
preload_app = False  # each worker opens the backend and watches the registry by itself
forwarded_allow_ips = ""  # X-Forwarded-* are for rpcguard to judge: trusted_proxies
limit_request_field_size = 16384  # bytes: a credential may have 8 KiB
keepalive = 75  # seconds; longer than nginx keeps an idle connection (60 s)
timeout = 60  # seconds until a worker that does not answer its master is killed
graceful_timeout = 20  # seconds; less than the unit's TimeoutStopSec
accesslog = None  # nginx writes it
loglevel = "warning"
control_socket_disable = True
