"""Prometheus and OpenTelemetry, behind real servers."""
