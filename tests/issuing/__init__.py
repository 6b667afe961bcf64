"""Tests of what rpcguard issues: challenges, sessions, API keys, refresh tokens."""
