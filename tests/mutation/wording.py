"""
Whether a mutant changes only what people read: the `detail` of a refusal, which only the log shows,
the text of an error about configuration, the explanations of a trace; or how a codec's name is
spelled. Such mutants are set aside and counted, not run.
"""

from __future__ import annotations

import ast

_CODECS = frozenset({"utf-8", "ascii", "surrogatepass"})


class _Unworded(ast.NodeTransformer):
    """Takes the wording out of a function."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        node.keywords = [keyword for keyword in node.keywords if keyword.arg != "detail"]
        called = ast.unparse(node.func)
        if called in ("ValueError", "TypeError", "_malformed"):
            node.args = []
        elif called == "trace.note":
            node.args[1:] = [ast.Constant(0)] * len(node.args[1:])
        elif called == "trace.time":
            node.args[2:] = [ast.Constant(0)] * len(node.args[2:])
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str) and node.value.lower() in _CODECS:
            return ast.Constant(node.value.lower())
        return node


def unworded(function: ast.AST) -> str:
    """Return *function*, as text, without its wording."""
    return ast.unparse(_Unworded().visit(ast.parse(ast.unparse(function))))
