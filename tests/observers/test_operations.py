"""The dashboard, the alerts and the documented queries ask for what exists."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from observers.scraping import parsed
from rpcguard.errors import REASONS
from rpcguard.issuing import ROUTES
from rpcguard.observer import OPERATIONS, Consulted, Judged, Loaded, LookedUp
from rpcguard.observers import prometheus

ROOT = Path(__file__).parents[2]
OPERATIONS_FILES = ROOT / "examples" / "operations"
DASHBOARD = json.loads((OPERATIONS_FILES / "grafana.json").read_text())
ALERTS = yaml.safe_load((OPERATIONS_FILES / "alerts.yaml").read_text())
PAGE = (ROOT / "docs" / "metrics.md").read_text()
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]

VALUES = {
    "kind": {"request", "handshake", "message", "recheck", *ROUTES},
    "scheme": {"jwt", "signature", "api_key", "session", "none"},
    "outcome": {"accepted", "refused"},
    "reason": {"", *REASONS},
    "operation": set(OPERATIONS),
    "result": {"hit", "miss"},
}
OF_PROMETHEUS = {"instance", "job"}  # labels that a scrape adds


def existing() -> dict[str, set[str]]:
    """Return the names of the samples that are exposed, with their labels."""
    registry = CollectorRegistry()
    observer = prometheus.observer(registry)
    for event in (
        Judged("request", "p", "jwt", 0.1, "expired"),
        Consulted("settle", 0.1, failed=True),
        LookedUp("p", found=True),
        Loaded(1, successful=True),
    ):
        observer(event)
    found: dict[str, set[str]] = {}
    for name, labels in parsed(generate_latest(registry).decode()):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


EXISTING = existing()


def panels() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def variables() -> Iterator[tuple[str, str]]:
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["definition"]


def documented() -> list[str]:
    (block,) = re.findall(r"```promql\n(.*?)```", PAGE, re.DOTALL)
    return [line for line in block.splitlines() if line and not line.startswith("#")]


QUERIES: list[tuple[str, str]] = [
    *panels(),
    *((rule["alert"], rule["expr"]) for rule in RULES),
    *(("docs/metrics.md", query) for query in documented()),
]


def test_there_is_something_to_check():
    assert len(list(panels())) > 12
    assert len(RULES) > 5
    assert len(documented()) > 5


@pytest.mark.parametrize(("where", "query"), [*QUERIES, *variables()])
def test_a_query_asks_for_what_exists(where, query):
    names = re.findall(r"rpcguard_\w+", query)
    assert names
    labels: set[str] = set()
    for name in names:
        assert name in EXISTING, f"{where} asks for {name}"
        labels |= EXISTING[name]
    for name, matchers in re.findall(r"(rpcguard_\w+)\{([^}]*)\}", query):
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            assert label in EXISTING[name] | OF_PROMETHEUS, f"{where}: {name} has no {label}"
            if not value.startswith("$"):
                parts = set(value.split("|")) if "~" in operator else {value}
                assert parts <= VALUES[label], f"{where}: no {label} is {value}"
    for group in re.findall(r"by \(([^)]*)\)", query):
        for label in re.split(r",\s*", group):
            assert label in labels | OF_PROMETHEUS, f"{where}: nothing has {label}"
    variable = re.fullmatch(r"label_values\(\w+, (\w+)\)", query)
    if variable:
        assert variable[1] in labels | OF_PROMETHEUS


def test_labels_in_texts_are_those_of_the_query():
    for rule in RULES:
        kept = set(re.split(r"[,\s]+", ",".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))
        if not kept - {""}:
            kept = OF_PROMETHEUS
        for text in rule["annotations"].values():
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label in re.sub(r"\{[^}]*\}", "", target["expr"]) or label == "instance"


def test_the_dashboard_shows_every_metric():
    shown = " ".join(query for _, query in panels())
    for name in EXISTING:
        assert re.sub("_(sum|count)$", "_bucket", name) in shown


def test_the_page_describes_every_metric_and_label():
    rows = dict(re.findall(r"^\| `(rpcguard_\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in EXISTING}
    assert rows.keys() == families
    for name, labels in EXISTING.items():
        row = rows[re.sub("_(bucket|sum|count)$", "", name)]
        assert set(re.findall(r"`(\w+)`", row.split("|")[1])) == labels - {"le"}


def test_panels_do_not_overlap_and_use_the_chosen_data_source():
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert (x, y) not in cells
                cells.add((x, y))
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def promtool(*arguments: Any) -> None:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_every_query_is_promql(tmp_path):
    rules = [
        {
            "record": f"query:{number}",
            "expr": query.replace("$__rate_interval", "5m").replace("$", ""),
        }
        for number, (_, query) in enumerate(QUERIES)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    promtool("check", "rules", path)


@pytest.mark.prometheus
def test_the_alerts_are_set_off_by_what_they_are_for():
    promtool("check", "rules", OPERATIONS_FILES / "alerts.yaml")
    promtool("test", "rules", OPERATIONS_FILES / "alerts_test.yaml")


@pytest.mark.prometheus
def test_prometheus_finds_no_fault_with_the_names(tmp_path):
    registry = CollectorRegistry()
    prometheus.observer(registry)(Judged("request", "p", "jwt", 0.1))
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=generate_latest(registry).decode(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_tests_of_the_alerts_leave_none_out():
    tests = yaml.safe_load((OPERATIONS_FILES / "alerts_test.yaml").read_text())["tests"]
    for rule in RULES:
        cases = [
            bool(case.get("exp_alerts"))
            for test in tests
            for case in test["alert_rule_test"]
            if case["alertname"] == rule["alert"]
        ]
        assert {True, False} == set(cases), f"{rule['alert']}: both, going off and being quiet"
