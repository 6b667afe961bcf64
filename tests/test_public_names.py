"""What `import rpcguard` offers."""

from __future__ import annotations

import rpcguard


def test_every_public_name_is_there_and_listed():
    for name in rpcguard.__all__:
        assert getattr(rpcguard, name) is not None
    assert {*rpcguard.__all__, "protect"} <= set(dir(rpcguard))


def test_a_star_import_needs_no_framework():
    assert "protect" not in rpcguard.__all__
