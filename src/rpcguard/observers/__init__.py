"""Observers for tools that many use: Prometheus and OpenTelemetry. See `rpcguard.observer`."""
