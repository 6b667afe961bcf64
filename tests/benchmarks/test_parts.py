"""What the benchmarks are made of: timing, verdicts, running apart, the load generator, tables."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench import load, report
from bench.bounds import Bound
from bench.material import Keys, write_registry
from bench.run import BrokenError, Run, fresh
from bench.sections import under_load
from bench.timing import Candidate, added, each, medians, series

RUN = Run.short("/nowhere", "redis://nowhere")


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.5, "ok"),
        (0.969, "ok"),
        (0.971, "close"),
        (1.029, "close"),
        (1.031, "miss"),
        (9.0, "miss"),
    ],
)
def test_a_figure_within_three_percent_of_its_bound_is_close(value: float, verdict: str) -> None:
    assert Bound("x", 1.0, "").verdict(value) == verdict


def test_candidates_take_turns_and_who_comes_first_changes() -> None:
    calls: list[str] = []
    candidates = {
        name: Candidate(lambda name=name: calls.append(name), prepare=lambda: calls.append("-"))
        for name in "ab"
    }

    taken = series(candidates, 2)

    assert "".join(calls) == "-a-b" + "-b-a" + "-a-b"  # once untimed, then two rounds
    assert {name: len(values) for name, values in taken.items()} == {"a": 2, "b": 2}


def test_who_comes_first_changes_too_where_a_comparison_is_made_in_shares() -> None:
    calls: list[str] = []
    candidates = {name: Candidate(lambda name=name: calls.append(name)) for name in "ab"}

    for share in under_load._shares(4 * under_load.STARTS + 2):
        before = len(calls)
        series(candidates, len(share), share.start)
        del calls[before : before + 2]  # untimed

    assert "".join(calls) == "baab" * (2 * under_load.STARTS + 1)


@pytest.mark.parametrize("rounds", [1, 4, 5, 15, 25, 27])
def test_every_start_of_the_servers_serves_as_many_rounds(rounds: int) -> None:
    shares = under_load._shares(rounds)

    assert [number for share in shares for number in share] == list(range(rounds))
    assert len(shares) == min(rounds, under_load.STARTS)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_medians_and_what_one_adds_to_another_come_from_the_rounds() -> None:
    taken = {"plain": [1.0, 50.0, 2.0], "guarded": [4.0, 53.0, 4.0]}

    assert medians(taken) == {"plain": 2.0, "guarded": 4.0}
    assert added(taken, "guarded", "plain") == 3.0


def test_a_round_that_was_given_too_little_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="1 operations instead of 2"):
        series({"x": each(str, lambda: ["only one"], 2)}, 1)


def test_a_part_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = write_registry(tmp_path, Keys())

    megabytes = fresh("bench.sections.loading", "weigh", RUN, str(file))

    assert megabytes > 1  # here the libraries are loaded, and it would be next to nothing


def test_a_part_that_fails_is_broken() -> None:
    with pytest.raises(BrokenError, match=r"sections\.nothing\.measure ended with status 1"):
        fresh("bench.sections.nothing", "measure", RUN)


REQUEST = load.post("/x", [("host", "h"), ("content-length", "2")], b"{}")
ANSWER = b"HTTP/1.1 200 OK\r\ndate: now\r\nContent-Length: 4\r\n\r\nfine"


@contextlib.asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[tuple[load.Load, list[bytes]]]:
    """Give a load of two connections to a server that answers in *pieces*, and what it is sent."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                heard.append(await reader.readexactly(len(REQUEST)))
                if not pieces:
                    break
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        client = await load.Load.connect(server.sockets[0].getsockname()[1], REQUEST, 2)
        try:
            yield client, heard
        finally:
            await client.close()


@pytest.mark.parametrize(
    "pieces", [(ANSWER,), (ANSWER[:20], ANSWER[20:]), (ANSWER[:-4], ANSWER[-4:])]
)
def test_the_generator_sends_as_many_requests_as_it_is_told(pieces: tuple[bytes, ...]) -> None:
    async def main() -> list[bytes]:
        async with answering(*pieces) as (client, heard):
            await client.send(7)
            await client.send(1)
            return heard

    assert asyncio.run(main()) == [REQUEST] * 8


def test_the_generator_takes_no_refusal_for_an_answer() -> None:
    async def main() -> None:
        async with answering(ANSWER.replace(b"200 OK", b"401 No")) as (client, _):
            await client.send(2)

    with pytest.raises(load.BadAnswerError, match=r"HTTP/1\.1 401"):
        asyncio.run(main())


def test_the_generator_notices_that_a_server_goes_away() -> None:
    async def main() -> None:
        async with answering() as (client, _):
            await client.send(2)

    with pytest.raises(load.BadAnswerError, match="closed a connection"):
        asyncio.run(main())


def test_a_table_shows_three_digits_that_count() -> None:
    rows = [("`a`", 0.1234, 1.234, 12.34, 1234.5)]

    assert report.table(("what", "w", "x", "y", "z"), rows).splitlines() == [
        "| what | w | x | y | z |",
        "| --- | --- | --- | --- | --- |",
        "| `a` | 0.123 | 1.23 | 12.3 | 1\u202f234 |",
    ]


def test_a_page_without_marks_is_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("by hand")

    with pytest.raises(ValueError, match="no marks"):
        report.write(page, {})

    assert page.read_text() == "by hand"
