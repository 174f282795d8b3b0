import gzip

import polars as pl
import pytest
import xxhash
from pydantic import ValidationError

from vldata.errors import SourceError
from vldata.sources.url_table import UrlTable

DOG = "https://blog.dogsof.com/wp-content/uploads/Image.jpg"


def read(path, **options):
    return UrlTable(path=str(path), **options).turns("caption")


def test_a_row_of_coyo_is_a_caption_named_by_its_id(tmp_path):
    path = tmp_path / "part-0.parquet"
    row = {"id": [841814333321], "url": [DOG], "text": [" A dog. "], "width": [1000], "height": [988]}
    pl.DataFrame(row).write_parquet(path)
    assert read(path).to_dicts() == [
        {
            "row": "841814333321",
            "images": ["841814333321.jpg"],
            "urls": [DOG],
            "caption": "A dog.",
            "problem": None,
            "detail": None,
        }
    ]


def test_without_an_id_the_hash_of_the_url_is_the_name(tmp_path):
    path = tmp_path / "laion.parquet"
    pl.DataFrame({"URL": [DOG, "http://x.org/é.png"], "TEXT": ["A dog.", "An é."]}).write_parquet(path)
    turns = read(path, image_name="{key}.webp")
    names = [xxhash.xxh3_64_hexdigest(url.encode()) for url in (DOG, "http://x.org/é.png")]
    assert turns["row"].to_list() == names == ["c6ff31e74166ced3", names[1]]
    assert turns["images"].to_list() == [[f"{name}.webp"] for name in names]


def test_an_id_that_is_null_is_made_up_for_by_the_hash(tmp_path):
    path = tmp_path / "x.parquet"
    pl.DataFrame(
        {"key": ["000000012", None], "url": ["http://a/1", "http://a/2"], "caption": ["x", "y"]}
    ).write_parquet(path)
    assert read(path)["row"].to_list() == ["000000012", xxhash.xxh3_64_hexdigest(b"http://a/2")]


@pytest.mark.parametrize(
    "line",
    [
        "a very typical bus station\thttp://lh6.ggpht.com/1.JPG",
        "https://lh6.ggpht.com/1.JPG\ta very typical bus station",
    ],
)
def test_a_tsv_without_head_may_have_the_url_first_or_last(tmp_path, line):
    path = tmp_path / "Train_GCC.tsv"
    path.write_text(f"{line}\n", encoding="utf-8")
    (turn,) = read(path).to_dicts()
    assert turn["caption"] == "a very typical bus station"
    assert turn["urls"][0].endswith("://lh6.ggpht.com/1.JPG")


def test_a_line_of_a_headless_tsv_that_is_no_pair_is_a_row_that_says_why(tmp_path):
    path = tmp_path / "Train_GCC.tsv.gz"
    lines = ['the "best" one\thttp://a/1', "no url", "a\thttp://a/2\tb", '"\thttp://a/3', ""]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    turns = read(path)
    assert turns["problem"].to_list() == [None, "unparsable_row", "unparsable_row", None]
    assert turns["caption"].to_list()[0] == 'the "best" one'
    assert turns["caption"].to_list()[3] == '"'
    assert turns["detail"][1] == "not a caption and a URL: no url"


def test_a_csv_or_tsv_with_a_head_is_read_by_its_names(tmp_path):
    (tmp_path / "a.csv").write_text('url,alt_text\nhttp://a/1,"A dog, a cat"\n')
    (tmp_path / "b.tsv").write_text("caption\turl\nA cow\thttp://a/2\n")
    assert read(tmp_path)["caption"].to_list() == ["A dog, a cat", "A cow"]


def test_a_csv_row_with_too_many_values_costs_itself_only(tmp_path):
    (tmp_path / "a.csv").write_text("url,caption\nhttp://a/1,A dog\nhttp://a/2,A dog,a cat\nhttp://a/3\n")
    turns = read(tmp_path)
    assert turns["problem"].to_list() == [None, "unparsable_row", None]
    assert turns["detail"][1] == "line 3: 3 values for 2 columns"
    assert turns["caption"].to_list() == ["A dog", None, None]


def test_a_row_without_a_url_is_a_missing_value(tmp_path):
    pl.DataFrame({"url": [None, DOG], "caption": ["x", "y"]}).write_parquet(tmp_path / "x.parquet")
    turns = read(tmp_path)
    assert turns.select("problem", "detail").rows() == [("missing_value", "no URL"), (None, None)]
    assert turns["images"].to_list()[0] == []


def test_columns_can_be_named_and_unknown_ones_are_refused_with_those_that_there_are(tmp_path):
    path = tmp_path / "x.parquet"
    pl.DataFrame({"link": [DOG], "words": ["A dog."], "n": [3]}).write_parquet(path)
    turns = read(path, url_column="link", caption_column="words", key_column="n")
    assert turns.select("row", "caption").rows() == [("3", "A dog.")]
    with pytest.raises(SourceError, match="none of the columns is called caption") as caught:
        read(path)
    assert caught.value.fix == "set `caption_column` to one of: link, words, n"
    with pytest.raises(SourceError, match="no column 'sentence'"):
        read(path, url_column="link", caption_column="sentence")


def test_a_pattern_of_names_knows_the_key_only():
    with pytest.raises(ValidationError, match="not known here"):
        UrlTable(path="x.parquet", image_name="{url}.jpg")


def test_a_damaged_parquet_file_is_refused_by_name(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match=r"x\.parquet"):
        read(tmp_path)
