"""`rpcguard demo`: real servers, real credentials, and what becomes of them."""
