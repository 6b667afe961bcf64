"""
For the tests of applications that rpcguard guards.

A clock that stands still, registries with ready credentials, and `as_principal`, which lets a test
be somebody without a credential. Loads no framework and no pytest; pytest's fixtures are in
`rpcguard.testing.pytest`, for `pytest_plugins = ["rpcguard.testing.pytest"]`.

Nothing of rpcguard imports this package, no registry, setting or environment variable leads to it,
and `as_principal` works inside a running test alone: a production application cannot be opened by
a line that was left behind.
"""

from rpcguard.testing.clock import FrozenClock as FrozenClock
from rpcguard.testing.impersonation import as_principal as as_principal
from rpcguard.testing.registry import Ready as Ready
from rpcguard.testing.registry import RegistryBuilder as RegistryBuilder
