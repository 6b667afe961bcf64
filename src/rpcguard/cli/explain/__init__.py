"""`rpcguard explain`: why is this credential refused, or accepted?"""
