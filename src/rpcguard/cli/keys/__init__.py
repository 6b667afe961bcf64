"""`rpcguard keys`: the keys, secrets and API keys of a registry, edited where they stand."""
