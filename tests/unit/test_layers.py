"""Layers: what wins, what is removed, what stays secret."""

import pytest
from saltern import layers
from saltern.layers import Secret


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": {"x": 1}}, {"a": {"x": None}}, {"a": {}}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"b": {"c": None}}, {"a": 1, "b": {}}),
        (["old"], ["new"], ["new"]),
        (["old"], {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_the_higher_layer_wins(low: object, high: object, expected: object) -> None:
    assert layers.overlaid(low, high) == expected


def test_each_layer_is_remembered() -> None:
    layered = (("derived", {"s": {"o": 1}}), ("site", {"s": {"o": None, "p": 2}}))
    assert layers.provenance("oslo", layered) == {
        ("s", "o"): [("derived", 1), ("site", None)],
        ("s", "p"): [("site", 2)],
    }
    assert layers.provenance("words", (("site", {"k": 1}),)) == {("", "k"): [("site", 1)]}
    assert layers.provenance("lines", (("site", ["x"]),)) == {("", ""): [("site", ["x"])]}
    assert layers.provenance("oslo", (("site", {"odd": 1}),)) == {}


def test_a_secret_stays_marked_in_whatever_holds_it() -> None:
    layered = (("derived", {"s": {"a": Secret("x"), "b": [Secret("y")], "c": {"d": Secret("z")}, "e": 1}}),)
    assert layers.secret_names("oslo", layered) == ("s.a", "s.b", "s.c")
    assert layers.secret_names("python", (("derived", {"KEY": Secret("x"), "OPEN": "y"}),)) == ("KEY",)


def test_what_the_operator_writes_is_a_secret_by_its_name() -> None:
    settings = {"ldap": {"password": "x", "url": "y", "user": None, "passwd": None}}
    for layer in layers.WRITTEN:
        assert layers.secret_names("oslo", ((layer, settings),)) == ("ldap.passwd", "ldap.password")
    assert layers.secret_names("oslo", (("catalogue", settings),)) == ()
    assert layers.secret_names("python", (("site", {"A": {"PASSWORD": 1}, "B": 2, 3: 4}),)) == ("A",)
    assert layers.secret_names("lines", (("host", ["password x"]),)) == ("",)


def test_a_secret_is_asked_for_by_its_name_where_a_value_stands() -> None:
    wanted = {"secret": "x"}
    found = layers.asked("oslo", {"a": {"b": wanted, "c": [wanted, 1]}, "secret": wanted, "d": {"secret": {"e": 1}}})
    assert found == {"a": {"b": "x", "c": ["x", 1]}, "secret": wanted, "d": {"secret": {"e": 1}}}
    assert layers.secret_names("oslo", (("derived", found),)) == ("a.b", "a.c")
    assert layers.asked("words", {"a": wanted, "b": {"secret": 5}}) == {"a": "x", "b": {"secret": 5}}
    assert layers.asked("lines", [wanted, "y"]) == ["x", "y"]
    assert layers.given(found["a"], lambda name: Secret(f"value of {name}")) == {
        "b": "value of x", "c": ["value of x", 1],
    }  # fmt: skip


def test_plain_data_has_no_marks() -> None:
    value = layers.plain({"a": Secret("x"), "b": (Secret("y"), 1)})
    assert value == {"a": "x", "b": ["y", 1]}
    assert type(value["a"]) is str
    assert type(value["b"][0]) is str
