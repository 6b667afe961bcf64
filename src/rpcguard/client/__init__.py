"""
Signing and minting for callers: pure functions, no I/O, the time passed in.

`signing_key` and `tokens` make JWTs, `order` the bound token for payments, `wallet` the signed
headers, and `signers` puts all of them behind one method for HTTP libraries.
"""
