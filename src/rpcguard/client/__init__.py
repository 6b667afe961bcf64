"""
Signing and minting for callers.

Here is what makes credentials, with no I/O and the time passed in: keys, wallets, and one function
for each preset. The modules named after HTTP libraries put them to work in those: `httpx`,
`httpx2`, `requests`, `aiohttp`, `web3`, `websockets`.
"""

from rpcguard.client.presets import Credentials as Credentials
from rpcguard.client.presets import allthatnode as allthatnode
from rpcguard.client.presets import api_key as api_key
from rpcguard.client.presets import bearer as bearer
from rpcguard.client.presets import engine_api as engine_api
from rpcguard.client.presets import meganode as meganode
from rpcguard.client.presets import meganode_rs256 as meganode_rs256
from rpcguard.client.presets import meganode_url as meganode_url
from rpcguard.client.presets import nodius as nodius
from rpcguard.client.presets import nodius_2026 as nodius_2026
from rpcguard.client.presets import oppiwallet as oppiwallet
from rpcguard.client.session import Session as Session
from rpcguard.client.session import SignIn as SignIn
from rpcguard.client.signers import Signer as Signer
from rpcguard.client.signing_key import SigningKey as SigningKey
from rpcguard.client.wallet import Wallet as Wallet
