"""
The sections: each module measures one thing in a process of its own.

`measure(run)` gives a flat map of names to ratios (`…_vs_…`), microseconds (`…_us`) and whatever
else a name says at its end (`…_bytes`, `…_mb`, `…_per_second`).
"""

SECTIONS = (
    "limits",
    "tokens",
    "flood",
    "wallets",
    "presets",
    "settle",
    "fastapi_added",
    "flask_added",
    "aiohttp_added",
    "under_load",
    "many_keys",
    "many_projects",
    "many_nonces",
    "loading",
    "workers",
    "startup",
)
