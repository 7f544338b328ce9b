"""The alerts and the panel in the documentation: Prometheus and Grafana read them, and each metric exists."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from batchswap.metrics.definitions import LEDGER, METRICS
from batchswap.states import State
from batchswap.verdicts import Kind
from tests.docs.pages import DOCS, Page
from tests.docs.test_reference import first_cells, section

UNATTENDED = Page(DOCS / "unattended.md")
LABELS = {each.name: {*each.labels, LEDGER, "instance"} for each in METRICS}
VALUES = {"state": set(map(str, State)), "kind": {"spent", "reserved", "balance", "exceeded"}}


def blocks(kind: str, word: str) -> Iterator[Any]:
    """Yield the documents of blocks that have a word."""
    for block in UNATTENDED.blocks:
        text = "\n".join(block.lines)
        if block.kind == kind and word in text:
            yield json.loads(text) if kind == "json" else yaml.safe_load(text)


(ALERTS,) = blocks("yaml", "alert:")
(PANEL,) = blocks("json", "timeseries")
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
IN_TEXT = re.findall(r"`((?:sum|time|batchswap_[a-z_]+\{)[^`]*)`", "\n".join(UNATTENDED.prose).replace("\n", " "))
QUERIES = [rule["expr"] for rule in RULES] + [target["expr"] for target in PANEL["targets"]] + IN_TEXT


def selectors(query: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the names and matchers of the metrics in a query."""
    found: list[tuple[str, list[Any]]] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((str(node.name), [*node.matchers.matchers]))
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    yield from found


def test_there_are_alerts_a_panel_and_queries_in_the_text() -> None:
    assert len(RULES) > 6
    assert len(PANEL["targets"]) == 2
    assert len(IN_TEXT) > 3


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_can_be_parsed_and_names_metrics_and_labels_that_exist(query: str) -> None:
    found = [*selectors(query)]
    assert found
    for name, matchers in found:
        assert name in LABELS
        for each in matchers:
            assert each.name in LABELS[name]
            if each.name in VALUES:
                assert set(each.value.split("|")) <= VALUES[each.name]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_each_alert_has_the_form_of_a_rule(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"\d+m", rule.get("for", "0m"))
    assert rule["annotations"]["summary"]


def test_the_groups_have_names() -> None:
    assert [set(group) for group in ALERTS["groups"]] == [{"name", "rules"}]


def test_exit_code_7_alone_alerts_no_one() -> None:
    """Runs that end in time leave work for the next one."""
    about = [rule["expr"] for rule in RULES if "exit_code" in rule["expr"]]
    assert about == ["batchswap_last_exit_code != 0 and batchswap_last_exit_code != 7"]


def test_each_outcome_is_explained() -> None:
    lines = section(UNATTENDED, "### What each metric means")
    start = lines.index("| outcome | meaning |")
    explained = {word for cells in first_cells(lines[start:]) for word in cells}
    of_answers = {each.outcome for each in Kind}
    assert explained == of_answers | {"not_sent", "no_answer", "cancelled", "unrecorded"}
