"""The figure of `docs/performance.md`: bars, written as plain SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.apps import PEERS
from bench.run import Figures

WIDTH, LABELS, BAR, GAP, TITLE = 760, 190, 14, 6, 34  # pixels
LONGEST = WIDTH - LABELS - 70
OURS, THEIRS = "#1b7f5c", "#9aa4ad"

_FRAMEWORKS = (
    ("fastapi", "FastAPI", ("tutorial", "fastapi_users", "authx")),
    ("flask", "Flask", ("flask_jwt_extended", "flask_httpauth")),
    ("aiohttp", "aiohttp", ("aiohttp_jwt", "plain_pyjwt")),
)
Bar = tuple[str, float, bool]  # label, microseconds, whether it is ours


def svg(figures: Figures) -> str:
    """Return what a token and what a guard costs, rpcguard and its peers, RS256."""
    marks: list[str] = []
    top = 0
    for title, bars in _groups(figures):
        marks.append(f'<text x="0" y="{top + 20}" font-weight="bold">{escape(title)}</text>')
        top += TITLE
        longest = max(value for _, value, _ in bars)
        for label, value, ours in bars:
            marks += _bar(top, label, value, value / longest, ours)
            top += BAR + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -5 {WIDTH} {top + 15}"'
        ' font-family="sans-serif" font-size="12" fill="#222">\n'
        f'<rect x="-10" y="-5" width="{WIDTH}" height="{top + 15}" fill="#fff"/>\n'
        + "\n".join(marks)
        + "\n</svg>\n"
    )


def _bar(top: int, label: str, value: float, share: float, ours: bool) -> Sequence[str]:
    length, base = max(1, round(share * LONGEST)), top + BAR - 3
    colour = OURS if ours else THEIRS
    return (
        f'<text x="{LABELS - 8}" y="{base}" text-anchor="end">{escape(label)}</text>',
        f'<rect x="{LABELS}" y="{top}" width="{length}" height="{BAR}" fill="{colour}"/>',
        f'<text x="{LABELS + length + 6}" y="{base}">{value:.1f}</text>',
    )


def _groups(figures: Figures) -> Iterator[tuple[str, Sequence[Bar]]]:
    token: list[Bar] = [
        ("rpcguard, token seen", figures["hot_rs256_us"], True),
        ("rpcguard, never seen", figures["cold_rs256_us"], True),
        *(
            (PEERS[peer], figures[f"{peer}_rs256_us"], False)
            for peer in ("pyjwt", "joserfc", "authlib")
        ),
    ]
    yield "Checking an RS256 token, microseconds", token
    for framework, name, peers in _FRAMEWORKS:
        bars: list[Bar] = [
            ("rpcguard, token seen", figures[f"{framework}_added_hot_rs256_us"], True),
            ("rpcguard, never seen", figures[f"{framework}_added_cold_rs256_us"], True),
        ]
        for peer in peers:
            value = figures[f"{framework}_added_rs256_by_{peer}_us"]
            bars.append((PEERS[peer], value, False))
        yield f"Added to a request by its guard, {name}, RS256, microseconds", bars
