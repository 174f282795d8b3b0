from vldata.pipeline.write_blocks import Arena


def test_values_stand_one_behind_the_other_and_survive_growing():
    arena = Arena()
    values = [b"", b"a", b"bc" * 500, b"", b"d" * 100_000]
    for value in values:
        arena.room(3 * len(value))[: len(value)] = value
        arena.keep(len(value))
    assert arena.column().to_pylist() == values


def test_what_is_not_kept_is_overwritten_and_clearing_begins_again():
    arena = Arena()
    arena.room(3)[:] = b"abc"
    arena.room(2)[:] = b"xy"
    arena.keep(2)
    assert arena.column().to_pylist() == [b"xy"]
    arena.clear()
    assert arena.column().to_pylist() == []
