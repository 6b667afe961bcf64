"""
Signing and minting for callers: pure functions, no I/O, the time passed in.

`signing_key` and `tokens` make JWTs, `order` the bound token for payments, `wallet` the signed
headers, `session` what signing in takes, and `signers` puts all that a request can be proved with
behind one method for HTTP libraries.
"""
