"""One conformance suite for the three adapters, on real sockets."""
