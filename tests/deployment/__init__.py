"""The files of examples/operations, used as they say they are to be used."""
