"""Adapters, one module per framework. Each needs the extra of its name: `rpcguard[flask]`."""
