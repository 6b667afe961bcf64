"""Every row has a test."""

from __future__ import annotations

from attacks.__main__ import main
from attacks.rows import covered, rows


def test_every_row_has_a_test_that_carries_its_number(capsys):
    assert main() == 0, capsys.readouterr().out


def test_the_list_is_whole():
    counts = dict.fromkeys("ABCDEFGHIJ", 0)
    for row, title in rows().items():
        counts[row[0]] += 1
        assert int(row[1:]) == counts[row[0]]
        assert title
    assert counts == {
        "A": 25,
        "B": 14,
        "C": 20,
        "D": 23,
        "E": 24,
        "F": 20,
        "G": 7,
        "H": 8,
        "I": 10,
        "J": 8,
    }


def test_the_command_names_a_row_without_a_test_and_a_test_without_a_row(monkeypatch, capsys):
    known = covered()
    known.pop("A1")
    known["A99"] = ["test_x.py::test_A99_x"]
    monkeypatch.setattr("attacks.__main__.covered", lambda: known)
    assert main() == 1
    told = capsys.readouterr().out
    assert 'A1  algorithm "none"' in told
    assert "A99  is no row" in told
