"""
The FastAPI example as uvicorn's workers load it: `uvicorn operations.asgi:app`.

Tried in tests/deployment/test_nginx.py, two workers behind a real nginx.
"""

from __future__ import annotations

import os

from fastapi_app import create_app

app = create_app(os.environ["RPCGUARD_REGISTRY"])
