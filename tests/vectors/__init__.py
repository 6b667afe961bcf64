"""Conformance vectors: the data, where they come from, and the loader that reads them."""
