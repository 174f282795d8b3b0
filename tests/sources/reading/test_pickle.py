import gzip
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import SourceError
from vldata.sources.reading.pickle import load_pickle

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


def nested(leaves):
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner))


def stored(folder, raw):
    path = folder / "refs(unc).p"
    path.write_bytes(raw)
    return path


class Runs:
    """What a hostile pickle does: a call when it is loaded."""

    def __init__(self, function, *arguments):
        self.made_of = function, arguments

    def __reduce__(self):
        return self.made_of


@given(value=nested(leaves), protocol=st.integers(0, 2))
def test_plain_values_of_python_2_s_protocols_come_back(tmp_path_factory, value, protocol):
    assert load_pickle(stored(tmp_path_factory.mktemp("plain"), pickle.dumps(value, protocol=protocol))) == value


@given(value=nested(leaves | st.binary()), protocol=st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_values_and_bytes_of_newer_protocols_come_back(tmp_path_factory, value, protocol):
    assert load_pickle(stored(tmp_path_factory.mktemp("plain"), pickle.dumps(value, protocol=protocol))) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_is_refused_and_named_and_never_made(tmp_path, protocol):
    witness = tmp_path / "witness"
    path = stored(tmp_path, pickle.dumps([{"ref_id": Runs(os.mkdir, str(witness))}], protocol=protocol))
    with pytest.raises(SourceError, match=rf"wants to load {os.mkdir.__module__}\.mkdir") as caught:
        load_pickle(path)
    assert caught.value.where == str(path)
    assert "take the file from its publisher again" in caught.value.fix
    assert not witness.exists()


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"(S'1'\nibuiltins\neval\n.", "builtins.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "builtins.eval"),
        (b"cdatetime\ndatetime\n.", "datetime.datetime"),
        (b"cnumpy.core.multiarray\nscalar\n.", "numpy.core.multiarray.scalar"),
        (b"Psome object\n.", "the persistent object 'some object'"),
    ],
)
def test_whatever_is_looked_up_by_name_is_refused(tmp_path, raw, named):
    with pytest.raises(SourceError, match="wants to load") as caught:
        load_pickle(stored(tmp_path, raw))
    assert named in caught.value.problem


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x80\x02",
        b"not a pickle",
        pickle.dumps(list(range(100)))[:-20],
        b"0.",  # pops what is not there
        b"]]s.",  # sets an entry of what is no dict
        b"}b.",  # builds on nothing
        b"h\x05.",  # recalls what was never kept
        b"\x82\x01.",  # an extension that nobody registered
        b"K\x01K\x01R.",  # calls a number
        b"\x80\xff.",
    ],
)
def test_a_damaged_pickle_is_refused_by_name(tmp_path, raw):
    with pytest.raises(SourceError, match=r"refs\(unc\)\.p"):
        load_pickle(stored(tmp_path, raw))


def test_the_byte_strings_of_python_2_are_text(tmp_path):
    utf8 = b"(dp0\nS'sent'\np1\nS'caf\\xc3\\xa9'\np2\ns."
    latin = b"(dp0\nS'sent'\np1\nS'caf\\xe9'\np2\ns."
    assert load_pickle(stored(tmp_path, utf8)) == {"sent": "café"}
    assert load_pickle(stored(tmp_path, latin)) == {"sent": "café"}


def test_a_pickle_may_be_gzipped(tmp_path):
    assert load_pickle(stored(tmp_path, gzip.compress(pickle.dumps([1, 2])))) == [1, 2]
