"""`rpcguard check`: every problem of a registry with its place, or what it holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rpcguard.cli.output import Column, complain, say, say_json, say_table
from rpcguard.errors import ConfigError, Problem
from rpcguard.registry import schema
from rpcguard.registry.compile import load
from rpcguard.registry.merge import load_models

_COLUMNS = (
    Column("project", lambda _: "bold"),
    Column("preset", lambda _: "cyan"),
    Column("match"),
    Column("who may call"),
)
