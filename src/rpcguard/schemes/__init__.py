"""How a caller proves who they are: `jwt`, `signature`, `api_key`. Pure: no clock, no I/O."""
