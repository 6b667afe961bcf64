"""What `make bench` measures: rpcguard, the bare primitives and its peers, in one run."""
