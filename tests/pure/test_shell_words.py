"""Command lines up to the cursor as bash reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.cli.completion.shell_words import Typed, parse, quoted

BREAKS = " \t\n\"'@><=;|&(:"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", ([], "", "", "")),
        ("batchswap ", (["batchswap"], "", "", "")),
        ("batchswap  show\tin", (["batchswap", "show"], "in", "", "")),
        ("show a\\ b", (["show"], "a b", "", "")),
        ("show a\\", (["show"], "a", "", "")),
        ("show 'a b", (["show"], "a b", "'", "")),
        ("show 'a\\b' ", (["show", "a\\b"], "", "", "")),
        ('show "a\\"b\\c', (["show"], 'a"b\\c', '"', "")),
        ('show x"a b', (["show"], "xa b", '"', "x")),
        ("show '' ", (["show", ""], "", "", "")),
        ("show c:d:e", (["show"], "c:d:e", "", "c:d:")),
        ("show c\\:d", (["show"], "c:d", "", "")),
        ("show 'c:d'e", (["show"], "c:de", "", "")),
        ("--batch=sp", ([], "--batch=sp", "", "--batch=")),
        ("--batch='s p", ([], "--batch=s p", "'", "--batch=")),
    ],
)
def test_a_line_is_split_as_bash_does(line: str, wanted: tuple[list[str], str, str, str]) -> None:
    assert parse(line, BREAKS) == Typed(*wanted)


@pytest.mark.parametrize(
    ("text", "quote", "wanted"),
    [
        ("a b", "", "a\\ b"),
        ("straße-1:2", "", "straße-1:2"),
        ("it's $x", "'", "it'\\''s $x"),
        ("fin'", "'", "fin'\\'''"),
        ('a"$b', '"', 'a\\"\\$b'),
        ("x!y", '"', 'x"\\!"y'),
        ('fin"', '"', 'fin\\""'),
    ],
)
def test_a_value_is_quoted(text: str, quote: str, wanted: str) -> None:
    assert quoted(text, quote) == wanted


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1), st.sampled_from(["", "'", '"']))
def test_a_quoted_value_is_read_as_it_was(text: str, quote: str) -> None:
    inserted = quoted(text, quote)
    closed = f"{quote}{inserted}" + ("" if inserted.endswith(quote) else quote)
    assert parse(f"{closed} ").words == [text]
