"""
From a YAML file to a registry: read it, bring the secrets in, lay it over its preset, validate it,
compile it, and watch its files. Everything wrong is found at load and reported with its place.
"""
