"""Quotation marks in CSV files: no row lies inside another."""

import polars as pl
import pytest

from vldata.errors import SourceError
from vldata.sources.table import Table


def captions(folder, text):
    (folder / "t.csv").write_text(text)
    turns = Table(path=str(folder / "t.csv"), fields={"images": "image"}).turns("caption")
    return turns.filter(pl.col("problem").is_null())["caption"].to_list()


@pytest.mark.parametrize(
    "rows",
    [
        '1.jpg,"hello there\n2.jpg,world"\n3.jpg,end\n',
        '1.jpg,"a\n2.jpg,b\n3.jpg,c"\n',
        '17,"hello there\n18,world"\n19,end\n',
    ],
)
def test_a_row_of_two_columns_that_holds_others_is_an_error(tmp_path, rows):
    with pytest.raises(SourceError, match="whole lines"):
        captions(tmp_path, f"image,caption\n{rows}")


@pytest.mark.parametrize("text", ["one\ntwo, three", "one\n2, three", "one\nand more", "a.b\nc.d, e"])
def test_lines_of_a_field_that_are_no_rows_stay_in_it(tmp_path, text):
    assert captions(tmp_path, f'image,caption\n1.jpg,"{text}"\n2.jpg,end\n') == [text, "end"]
