"""`rpcguard token`, `sign` and `call`: the caller's side, for every preset."""
