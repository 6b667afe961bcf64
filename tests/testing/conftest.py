"""The fixtures of the plugin, for this directory alone."""

from rpcguard.testing.pytest import rpcguard_clock, rpcguard_registry

__all__ = ["rpcguard_clock", "rpcguard_registry"]
