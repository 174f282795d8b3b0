"""The choices that must never change: values written out, for a changed hash would silently remake every dataset."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from vldata.schema.keyed import _mix, below, canonical_text, fractions, keyed, keyed_one, string_keys
from vldata.schema.turns import BOX, SIZE

EDGES = np.array([0, 1, 1 << 63, (1 << 64) - 1], dtype=np.uint64)

STRINGS = {
    "": 0x2D06800538D394C2,  # the reference implementation's value of XXH3 for no bytes
    "a": 0xE6C632B61E964E1F,
    "A": 0xD0D496E05C553485,
    " a": 0x5A982AA66D566503,
    "b": 0x575A0B1C44D8843F,
    "0": 0x1982E3A7BB241055,
    "00": 0x96FAD2C77824BA99,
    "captions/391895": 0x64B2BF02E696EEA0,
    "é": 0xF7940A006CF10CB3,
    "e\u0301": 0xDC0BA6F9447885A8,  # looks the same, and is another string
    "日本語": 0x11FEC42C806050B7,
    "🦊": 0xDD9835128DB811E4,
    "ab" * 200: 0xC65C4389CD4DB08D,  # more than 240 bytes go another way through the hash
}

CHOICES = {
    (0, "", ""): [0xE1A84EB8C72D01EB, 0xEA0183EEDA953869, 0xEDF8CE660DECEAC2, 0x3F8BB96AF6E9C47F],
    (0, "rank", ""): [0xC870129C153125D0, 0xB4DC30747F416B66, 0x81E7161B83CE1866, 0x2845FFF3C427913D],
    (0, "rank", "captions"): [0x596D5D46689918CF, 0xEE68762E660EB404, 0xE5EBC19E3FF1A0C5, 0xE645AEEFDE7BEF6C],
    (7, "rank", "captions"): [0xD59DC1602158B2AB, 0xA2B808A5BA84D376, 0xD75BD1366C36D40B, 0xF226DA471789257E],
    (7, "variant", "captions"): [0x96519375ADC37D01, 0xDE46BEE06E254AD4, 0x0F3D1F033052F1BF, 0x4E97BB2C573494E4],
    (7, "flip", "captions"): [0x07DF666218DE6969, 0xBDEDD774517C57A9, 0xA2CE59D7547E8856, 0xC0A40F5E0BBCDA7A],
    (7, "split", ""): [0xB3D8B0035E787BCC, 0xAA8D6A43E9B95B0B, 0xBBC82AC6BD12E1C1, 0x90B6EE5CFCF5877A],
    (2**63 - 1, "rank", "日本語"): [0xE0FB257F99DFDE4C, 0x1F23E7E3DCD8B637, 0xF578A5F64F7CBE0C, 0x499BD361FFF1E521],
}
"""(seed, purpose, salt) -> the choices of `EDGES`."""


def test_strings_have_these_keys() -> None:
    keys = string_keys(STRINGS)
    assert keys.dtype == np.uint64
    assert keys.tolist() == list(STRINGS.values())
    assert string_keys([]).shape == (0,)


@pytest.mark.parametrize(("seed", "purpose", "salt"), CHOICES)
def test_keys_have_these_choices(seed: int, purpose: str, salt: str) -> None:
    chosen = keyed(EDGES, seed, purpose, salt)
    assert chosen.dtype == np.uint64
    assert chosen.tolist() == CHOICES[seed, purpose, salt]


def test_no_keys_have_no_choices_and_no_salt_is_an_empty_one() -> None:
    assert keyed(string_keys([]), 7, "rank").shape == (0,)
    assert keyed(EDGES, 7, "split").tolist() == keyed(EDGES, 7, "split", "").tolist()


def test_seed_purpose_and_salt_do_not_run_into_each_other() -> None:
    distinct = [(1, "2x", ""), (12, "x", ""), (1, "2", "x"), (1, "2", ""), (1, "", "2x")]
    assert len({int(keyed(EDGES, *said)[0]) for said in distinct}) == len(distinct)


def test_one_string_has_the_choice_of_its_key() -> None:
    assert keyed_one("a", 7, "rank", "captions") == 0x739576A26122600A
    assert keyed_one("", 0, "") == 0xADECAFAFB40FF374
    assert keyed_one("日本語", 7, "block_order") == 0x402FED190893ACCA
    assert type(keyed_one("a", 7, "rank")) is int


def test_the_mixing_is_that_of_splitmix64() -> None:
    step = np.uint64(0x9E3779B97F4A7C15)  # what its generator adds before it mixes; these are its first three outputs
    with np.errstate(over="ignore"):
        states = np.array([1, 2, 3], dtype=np.uint64) * step
        mixed = _mix(states)
    assert mixed.tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_fractions_are_the_upper_53_bits_and_never_one() -> None:
    choices = np.array([0, (1 << 11) - 1, 1 << 11, 1 << 63, 3 << 62, (1 << 64) - 1], dtype=np.uint64)
    assert fractions(choices).tolist() == [0.0, 0.0, 2.0**-53, 0.5, 0.75, 1 - 2.0**-53]


@pytest.mark.parametrize(
    ("n", "chosen"), [(1, [0, 0, 0, 0, 0]), (2, [0, 0, 1, 1, 1]), (3, [0, 0, 1, 2, 2]), (1000, [0, 250, 500, 750, 999])]
)
def test_integers_below_n_are_equal_parts(n: int, chosen: list[int]) -> None:
    choices = np.array([0, 1 << 62, 1 << 63, 3 << 62, (1 << 64) - 1], dtype=np.uint64)
    assert below(choices, n).tolist() == chosen
    assert below(choices, n).dtype == np.int64


def test_columns_are_written_as_this_text() -> None:
    columns = {
        "text": ["x", None, ""],
        "float": [1.5, 1e16, None],
        "bool": [True, False, None],
        "int": [-1, 2**40, None],
        "texts": [["p", "q"], [], None],
        "with_null": [["p", None], [""], [None]],
        "size": [{"width": 3, "height": 4}, None, {"width": None, "height": 1}],
        "boxes": [[{"x0": 1.0, "y0": 2.5, "x1": 1e20, "y1": 1e-7, "image": 0, "phrase": None}], [], None],
    }
    table = pl.DataFrame(columns, schema_overrides={"size": SIZE, "boxes": pl.List(BOX)})
    assert table.select(canonical_text(dict(table.schema)).alias("text"))["text"].to_list() == [
        "bool=true\x1fboxes=[x0=1.0,y0=2.5,x1=1e+20,y1=1e-7,image=0,phrase~]\x1ffloat=1.5\x1fint=-1"
        "\x1fwidth=3,height=4\x1ftext=x\x1ftexts=[=p\x1e=q]\x1fwith_null=[=p\x1e~]",
        "bool=false\x1fboxes=[]\x1ffloat=1e+16\x1fint=1099511627776"
        "\x1fwidth~,height~\x1ftext~\x1ftexts=[]\x1fwith_null=[=]",
        "bool~\x1fboxes~\x1ffloat~\x1fint~\x1fwidth~,height=1\x1ftext=\x1ftexts~\x1fwith_null=[~]",
    ]


def test_the_order_of_columns_changes_no_text_and_no_columns_are_an_empty_one() -> None:
    table = pl.DataFrame({"a": ["1"], "b": ["2"]})
    turned = canonical_text({"b": pl.String(), "a": pl.String()})
    assert table.select(turned.alias("text"))["text"].to_list() == ["a=1\x1fb=2"]
    assert table.select(canonical_text({}).alias("text"))["text"].to_list() == [""]
