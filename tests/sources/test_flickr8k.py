import pytest

from vldata.errors import SourceError
from vldata.sources.flickr8k import Flickr8k


def written(tmp_path, text, name="Flickr8k.token.txt"):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return str(tmp_path / name)


def test_a_line_is_a_caption_of_a_photograph(tmp_path):
    path = written(tmp_path, "1000_a.jpg#0\tA child climbs .\r\n1000_a.jpg#1\t A girl\u2028goes .\n")
    turns = Flickr8k(path=path).turns("caption")
    assert turns.select("row", "images", "caption", "problem").rows() == [
        ("1000_a.jpg#0", ["1000_a.jpg"], "A child climbs .", None),
        ("1000_a.jpg#1", ["1000_a.jpg"], "A girl\u2028goes .", None),
    ]


@pytest.mark.parametrize(
    "line", ["a.jpg.1#0\tA dog .", "a.jpg\tA dog .", "#0\tA dog .", "a.jpg#x\tA dog .", "a.jpg#0 A dog .", "A dog ."]
)
def test_a_line_without_a_proper_key_stays_as_a_row_that_says_why(tmp_path, line):
    turns = Flickr8k(path=written(tmp_path, f"{line}\n\nb.png#0\tA cat .\n")).turns("caption")
    assert turns["problem"].to_list() == ["unparsable_row", None]
    assert line[:2] in turns["detail"][0]


def test_a_split_filters_the_other_photographs(tmp_path):
    path = written(tmp_path, "a.jpg#0\tA dog .\nb.jpg#0\tA cat .\nbad\tA cow .\n")
    split = written(tmp_path, "b.jpg\r\nc.jpg\r\n", "Flickr_8k.devImages.txt")
    source = Flickr8k(path=str(tmp_path), split_file=split)
    assert source.turns("caption").select("problem", "detail").rows() == [
        ("other_split", "not in Flickr_8k.devImages.txt"),
        (None, None),
        ("unparsable_row", "bad is no <image>#<number>"),
    ]
    assert [file.name for file in source.files()] == ["Flickr8k.token.txt", "Flickr_8k.devImages.txt"]
    assert Flickr8k(path=path).files() != source.files()


def test_a_split_that_is_missing_is_refused_by_name(tmp_path):
    path = written(tmp_path, "a.jpg#0\tA dog .\n")
    with pytest.raises(SourceError, match=r"nowhere\.txt"):
        Flickr8k(path=path, split_file=str(tmp_path / "nowhere.txt")).turns("caption")


def test_a_folder_without_captions_is_refused(tmp_path):
    written(tmp_path, "a.jpg\n", "Flickr_8k.devImages.txt")
    with pytest.raises(SourceError, match=r"no file named \*\.token\.txt"):
        Flickr8k(path=str(tmp_path)).turns("caption")


def test_all_of_the_real_captions_are_read(shared_data):
    folder = shared_data / "flickr8k"
    turns = Flickr8k(path=str(folder)).turns("caption")
    assert turns.height == 40_460
    rejected = turns.filter(turns["problem"].is_not_null())
    assert rejected.select("row", "problem").rows() == [("2258277193_586949ec62.jpg.1#0", "unparsable_row")]
    assert turns["images"].explode().drop_nulls().n_unique() == 8_092


@pytest.mark.parametrize(("split", "captions"), [("train", 30_000), ("dev", 5_000), ("test", 5_000)])
def test_the_real_splits_have_five_captions_a_photograph(shared_data, split, captions):
    folder = shared_data / "flickr8k"
    names = str(folder / f"Flickr_8k.{split}Images.txt")
    turns = Flickr8k(path=str(folder), split_file=names).turns("caption")
    assert turns["problem"].null_count() == captions
    assert turns.height == 40_460
