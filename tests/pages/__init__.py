"""
Runs what the documentation shows: every fenced block of every page, in its order, for real.

`blocks` reads a page, `run` executes it, `shell` and `interpreter` are the bash and the Python that
a page's blocks share, `addresses` the ports that stand for those shown, `printed` tells whether two
outputs differ in more than time and chance. `python -m pages` writes down what is printed.
"""
