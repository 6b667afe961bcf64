"""
The Flask example as gunicorn's workers load it: `gunicorn operations.wsgi:app`.

Tried in tests/deployment/test_nginx.py, two workers behind a real nginx.
"""

from __future__ import annotations

import os

from flask_app import create_app

app = create_app(os.environ["RPCGUARD_REGISTRY"])
app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 20}  # seconds; uvicorn pings by itself
