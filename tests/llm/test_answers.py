from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kills import KILLS
from vldata.errors import StoreError
from vldata.llm import durable, index, log, segments
from vldata.llm.answers import Answer, Answers, Attempt, open_answers
from vldata.llm.request import Request

SECRET = "sk-very-secret-0123456789"


def ask(number: int, **changes: object) -> Request:
    messages = ({"role": "system", "content": "Look."}, {"role": "user", "content": f"image {number}"})
    return Request(**{"endpoint": "openai", "model": "model-1", "messages": messages} | changes)


def answer(number: int, text: str = "a dog", **changes: object) -> Answer:
    request = ask(number)
    return Answer(
        **{
            "key": request.key,
            "request": request,
            "reply": {"id": f"r-{number}", "choices": [{"message": {"role": "assistant", "content": text}}]},
            "attempts": (Attempt(100.5, 429, "rate_limited", 2.0, cost_usd=0.0), Attempt(103.0, 200, cost_usd=0.0001)),
            "cost_usd": 0.0001,
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
            "received_at": 104.25,
        }
        | changes
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 2000)


def filled(folder: Path, count: int) -> list[Answer]:
    given = [answer(number) for number in range(count)]
    with open_answers(folder) as answers:
        for one in given:
            answers.put(one)
    return given


def segment_of(folder: Path, number: int = 1) -> Path:
    return folder / f"{number:06d}.answers"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def forget_index(folder: Path) -> None:
    for path in folder.glob("*.index"):
        path.unlink()


def test_an_answer_comes_back_as_it_was_put_now_and_after_opening_again(folder):
    one = answer(1)
    with open_answers(folder) as answers:
        assert one.key not in answers
        assert answers.get(one.key) is None
        assert answers.put(one)
        assert one.key in answers
        assert answers.get(one.key) == one
    with open_answers(folder, read_only=True) as answers:
        assert answers.get(one.key) == one
        assert answers.get(one.request) == one
        assert answers.get(ask(2)) is None
        assert list(answers) == [one]
        assert list(answers.keys()) == [one.key]
        assert len(answers) == 1


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "{{ config }} {% raw %}",
        "../../etc/passwd",
        "half a pair \ud83d",
        "nul \0 and é and 🐕",
        "===\n\n",
        "",
    ],
)
def test_a_reply_stays_the_text_it_is(folder, text):
    one = answer(1, text, channel="batch")
    with open_answers(folder) as answers:
        answers.put(one)
    with open_answers(folder, read_only=True) as answers:
        assert answers.get(one.key) == one


def test_a_number_that_json_does_not_know_is_kept_as_the_server_sent_it(folder):
    one = answer(1, usage={"logprob": float("-inf")})
    with open_answers(folder) as answers:
        answers.put(one)
        assert answers.get(one.key) == one


def test_a_reply_that_is_no_json_is_refused_and_nothing_is_written(folder):
    nested: dict = {}
    for _ in range(sys.getrecursionlimit() * 100):
        nested = {"x": nested}
    with open_answers(folder) as answers:
        for reply in ({"x": object()}, nested):
            with pytest.raises(ValueError, match="cannot be kept"):
                answers.put(answer(1, reply=reply))
        assert len(answers) == 0
    assert segment_of(folder).stat().st_size == segments.HEAD_BYTES
    while nested:
        nested = nested["x"]  # else its end would recurse too


def test_the_first_answer_stays_and_another_counts_as_money_only(folder):
    first, second = answer(1, "first"), answer(1, "second")
    with open_answers(folder) as answers:
        assert answers.put(first)
        assert not answers.put(first)
        assert answers.spent() == (0.0001, 0)
        assert not answers.put(second)
        assert answers.spent() == (0.0002, 0)
        assert answers.get(first.key) == first
    with open_answers(folder, read_only=True) as answers:
        assert list(answers) == [first]
        assert answers.spent() == (0.0002, 0)


def test_an_answer_under_the_key_of_another_request_is_refused(folder):
    with open_answers(folder) as answers:
        with pytest.raises(ValueError, match="has key"):
            answers.put(answer(1, key=ask(2).key))
        with pytest.raises(ValueError, match="has key"):
            answers.fail(ask(2).key, ask(1), [Attempt(1.0)])


def test_a_failure_is_kept_and_is_no_answer(folder):
    attempts = (Attempt(1.0, 500, "server_error", 1.5), Attempt(3.0, None, "timeout", request_id="abc"))
    with open_answers(folder) as answers:
        answers.fail(ask(1).key, ask(1), attempts[:1])
        answers.fail(ask(2).key, ask(2), [Attempt(2.0, 400, "content_policy", cost_usd=0.0)])
        answers.fail(ask(1).key, ask(1), attempts[1:])
        answers.fail(ask(3).key, ask(3), [])
        assert ask(1).key not in answers
        assert answers.get(ask(1).key) is None
        answers.put(answer(2))
    with open_answers(folder, read_only=True) as answers:
        (failure,) = answers.failures()
        assert (failure.key, failure.request, failure.attempts) == (ask(1).key, ask(1), attempts)
        assert answers.failure(ask(2).key).attempts[0].error == "content_policy"
        assert answers.failure(ask(3).key) is None
        assert answers.spent() == (0.0001, 2)
        assert answers.spent([ask(2).key, ask(2).key]) == (0.0001, 0)
        assert answers.spent([ask(1).key]) == (0.0, 2)


def test_money_is_summed_exactly_and_what_is_unknown_is_counted(folder):
    with open_answers(folder) as answers:
        for number in range(10):
            answers.put(answer(number, cost_usd=0.1))
        answers.put(answer(10, cost_usd=None))  # its attempts say 0 and 0.0001
        answers.put(answer(11, cost_usd=None, attempts=(Attempt(1.0), Attempt(2.0, cost_usd=2.0))))
        answers.put(answer(12, cost_usd=None, attempts=()))
        assert answers.spent() == (3.0001, 2)
    with open_answers(folder, read_only=True) as answers:
        assert answers.spent() == (3.0001, 2)


@pytest.mark.parametrize("cost", [-0.1, float("nan"), float("inf")])
def test_a_cost_that_is_none_is_refused(folder, cost):
    with open_answers(folder) as answers, pytest.raises(ValueError, match="USD"):
        answers.put(answer(1, cost_usd=cost))


def test_an_error_is_a_class_and_not_a_message():
    with pytest.raises(ValueError, match="class of errors"):
        Attempt(1.0, 401, f"Incorrect API key provided: {SECRET}")


def test_the_newest_request_about_the_same_input_is_found(folder):
    older, newer = ask(1, model="model-0"), ask(1, parameters={"temperature": 1})
    with open_answers(folder) as answers:
        for request in (older, newer, ask(2)):
            answers.put(answer(1, key=request.key, request=request))
        assert answers.last_like(ask(1)) == newer
        assert answers.last_like(ask(3)) is None
    with open_answers(folder, read_only=True) as answers:
        assert answers.last_like(ask(1)) == newer
        assert answers.last_like(ask(2)) == ask(2)
        assert answers.last_like(ask(3)) is None


def test_a_secret_reaches_no_file(folder):
    tricky = 'sk-"quoted"-é-\\0123456789'
    with open_answers(folder) as answers:
        answers.guard(SECRET)
        answers.guard(tricky)
        answers.guard("none")
        answers.put(answer(1, f"none of your key {SECRET} is here"))
        answers.put(answer(2, f"your key {tricky}"))
        answers.put(answer(3, f"your key {tricky} \ud800"))
        request = ask(4)
        answers.fail(request.key, request, [Attempt(1.0, 401, "unauthorised", request_id=f"for {SECRET}")])
        assert "none of your key [secret] is here" in str(answers.get(ask(1).key).reply)
        assert "your key [secret]" in str(answers.get(ask(2).key).reply)
        assert "your key [secret] \\ud800" in str(answers.get(ask(3).key).reply)
        assert SECRET not in repr(answers)
    for path in folder.iterdir():
        data = path.read_bytes()
        assert SECRET.encode() not in data
        assert b"0123456789" not in data.replace(SECRET.encode(), b"")


def test_segments_rotate_and_are_read_again(folder, small_segments):
    given = filled(folder, 20)
    assert len(list(folder.glob("*.answers"))) > 5
    for path in folder.glob("*.answers"):
        assert path.stat().st_size <= 2000
    with open_answers(folder) as answers:
        assert list(answers) == given
        answers.put(answer(20))
        assert [answers.get(one.key) for one in given] == given
    forget_index(folder)
    with open_answers(folder, read_only=True) as answers:
        assert list(answers) == [*given, answer(20)]


def test_an_answer_longer_than_a_segment_has_one_of_its_own(folder, small_segments):
    long = answer(1, "x" * 5000)
    with open_answers(folder) as answers:
        answers.put(long)
        answers.put(answer(2))
    with open_answers(folder, read_only=True) as answers:
        assert list(answers) == [long, answer(2)]


def test_more_segments_than_files_may_be_open_are_read(folder, small_segments, monkeypatch):
    monkeypatch.setattr(log, "_OPEN_SEGMENTS", 3)
    given = filled(folder, 30)
    with open_answers(folder) as answers:
        for one in random.Random(1).sample(given, 30):
            assert answers.get(one.key) == one
            assert len(answers._log._handles) <= 3
        assert answers.put(answer(30))


def test_a_second_writer_is_refused_and_comes_in_when_the_first_has_closed(folder):
    with open_answers(folder):
        with pytest.raises(StoreError, match=f"process {os.getpid()} is using it"):
            open_answers(folder)
        open_answers(folder, read_only=True).close()
    open_answers(folder).close()


def test_a_reader_beside_a_writer_sees_what_is_there_and_more_after_refreshing(folder, small_segments):
    with open_answers(folder) as writer:
        writer.put(answer(0))
        with open_answers(folder, read_only=True) as reader:
            for number in range(1, 15):
                writer.put(answer(number))
                assert ask(number).key not in reader
                reader.refresh()
                assert reader.get(ask(number).key) == answer(number)
            assert len(reader) == 15
            assert reader.spent() == writer.spent()
            assert list(reader) == list(writer)
            assert reader.damaged == ()


def test_a_reader_stops_before_a_half_written_answer_and_says_nothing_of_it(folder):
    given = filled(folder, 3)
    whole = segment_of(folder).read_bytes()
    forget_index(folder)
    for missing in (1, 200, 700):
        segment_of(folder).write_bytes(whole[:-missing])
        with open_answers(folder, read_only=True) as reader:
            before = list(reader)
            assert before == given[: len(before)]
            assert reader.damaged == ()
            segment_of(folder).write_bytes(whole)
            reader.refresh()
            assert list(reader) == given
    half = bytearray(whole)
    half[-20:] = bytes(20)
    segment_of(folder).write_bytes(half)
    with open_answers(folder, read_only=True) as reader:
        assert list(reader) == given[:2]
        assert reader.damaged == ()


def test_a_reader_reports_what_is_damaged_in_a_segment_that_is_finished(folder, small_segments):
    given = filled(folder, 20)
    forget_index(folder)
    data = bytearray(segment_of(folder).read_bytes())
    data[-20] ^= 1
    segment_of(folder).write_bytes(data)
    with open_answers(folder, read_only=True) as answers:
        assert len(answers.damaged) == 1
        assert len(answers) == len(given) - 1
    assert not list(folder.glob("*.index"))


def test_an_empty_folder_has_no_answers_for_a_reader(folder):
    folder.mkdir()
    with open_answers(folder, read_only=True) as answers:
        assert list(answers) == []


def test_what_a_kill_leaves_of_a_store_that_was_being_created_is_an_empty_one(folder):
    folder.mkdir()
    (folder / "lock").touch()
    (folder / ".version-7").touch()
    with open_answers(folder, read_only=True) as answers:
        assert len(answers) == 0
    assert filled(folder, 1)
    with open_answers(folder, read_only=True) as answers:
        assert len(answers) == 1


def test_a_reader_writes_nothing_and_makes_nothing(folder):
    with open_answers(folder, read_only=True) as answers:
        assert len(answers) == 0
        assert answers.get(ask(1).key) is None
        assert answers.spent() == (0.0, 0)
        with pytest.raises(ValueError, match="reading only"):
            answers.put(answer(1))
    assert not folder.exists()


def test_a_closed_store_is_not_written_to(folder):
    answers = open_answers(folder)
    answers.close()
    answers.close()
    with pytest.raises(ValueError, match="closed"):
        answers.put(answer(1))


def test_a_torn_tail_is_cut_wherever_it_was_torn_and_the_rest_stays(folder):
    given = filled(folder, 3)
    whole = segment_of(folder).read_bytes()
    with open_answers(folder, read_only=True) as answers:
        begin = answers._log.index.answer(given[2].key).offset
    for kept in range(begin, len(whole), 7):
        for tail in (b"", bytes(4096)):
            forget_index(folder)
            segment_of(folder, 2).unlink(missing_ok=True)
            (folder / "newest").write_text("1\n")  # else it would be missed
            segment_of(folder).write_bytes(whole[:kept] + tail)
            with open_answers(folder) as answers:
                damaged = answers.damaged
                assert list(answers) == given[:2]
                answers.put(given[2])
            with open_answers(folder, read_only=True) as answers:
                assert list(answers) == given
                assert answers.damaged == damaged
            if kept == begin or not tail:  # else what was lost is known by its header, and reported
                assert damaged == ()


def test_a_tear_leaves_no_trace(folder):
    given = filled(folder, 3)
    whole = segment_of(folder).read_bytes()
    segment_of(folder).write_bytes(whole[:-10])
    with open_answers(folder) as answers:
        assert answers.damaged == ()
        answers.put(given[2])
    assert segment_of(folder).read_bytes() == whole


@pytest.mark.parametrize("with_index", [True, False])
def test_a_flipped_byte_costs_one_answer_which_is_reported_and_requested_again(folder, with_index):
    given = filled(folder, 3)
    whole = segment_of(folder).read_bytes()
    with open_answers(folder, read_only=True) as answers:
        rows = [answers._log.index.answer(one.key) for one in given]
    index_bytes = (folder / "000001.index").read_bytes()
    for at in range(rows[1].offset, rows[2].offset, 11):
        for path in folder.iterdir():
            if path.name not in ("VERSION", "lock"):
                path.unlink()
        flipped = bytearray(whole)
        flipped[at] ^= 0x40
        segment_of(folder).write_bytes(flipped)
        if with_index:
            (folder / "000001.index").write_bytes(index_bytes)
        with open_answers(folder) as answers:
            assert [answers.get(one.key) for one in given] == [given[0], None, given[2]]
            assert given[1].key not in answers
            (damage,) = answers.damaged
            assert (damage.path, damage.offset) == (segment_of(folder), rows[1].offset)
            assert f"byte {rows[1].offset}" in str(damage)
            assert len(answers) == 2
            assert answers.put(given[1])
            assert answers.get(given[1].key) == given[1]
        assert segment_of(folder).read_bytes().startswith(bytes(flipped))
        with open_answers(folder, read_only=True) as answers:
            assert list(answers) == [given[0], given[2], given[1]]
            assert [(one.path, one.offset) for one in answers.damaged] == [(damage.path, damage.offset)]


def test_what_a_damaged_answer_cost_stays_spent(folder):
    given = filled(folder, 3)
    data = bytearray(segment_of(folder).read_bytes())
    data[-700] ^= 1
    segment_of(folder).write_bytes(data)
    for _ in range(2):
        with open_answers(folder) as answers:
            assert [str(damage).count("what was kept for request") for damage in answers.verify()] == [1]
            assert answers.spent() == (0.0003, 0)
            assert len(answers) == len(given) - 1


def test_a_damaged_last_header_is_kept_for_the_curious_and_writing_goes_on_elsewhere(folder):
    given = filled(folder, 2)
    forget_index(folder)
    data = bytearray(segment_of(folder).read_bytes())
    with open_answers(folder, read_only=True) as answers:
        data[answers._log.index.answer(given[1].key).offset + 9] ^= 1
    segment_of(folder).write_bytes(data)
    with open_answers(folder) as answers:
        assert len(answers.damaged) == 1
        answers.put(given[1])
    assert segment_of(folder).read_bytes() == data
    with open_answers(folder, read_only=True) as answers:
        assert list(answers) == given
        assert len(answers.damaged) == 1


@pytest.mark.parametrize("at", range(0, 28, 3))
def test_a_damaged_head_costs_nothing(folder, at):
    given = filled(folder, 3)
    data = bytearray(segment_of(folder).read_bytes())
    data[at] ^= 1
    segment_of(folder).write_bytes(data)
    with open_answers(folder) as answers:
        assert list(answers) == given
        assert answers.put(answer(3))


@pytest.mark.parametrize("spoil", ["missing", "empty", "flipped", "of another", "longer"])
def test_an_index_that_cannot_be_trusted_is_rebuilt(folder, tmp_path, spoil):
    given = filled(folder, 5)
    sidecar = folder / "000001.index"
    saved = sidecar.read_bytes()
    if spoil == "missing":
        sidecar.unlink()
    elif spoil == "empty":
        sidecar.write_bytes(b"")
    elif spoil == "flipped":
        sidecar.write_bytes(saved[:-9] + bytes([saved[-9] ^ 1]) + saved[-8:])
    elif spoil == "of another":
        filled(tmp_path / "other", 2)
        sidecar.write_bytes((tmp_path / "other" / "000001.index").read_bytes())
    else:
        with open_answers(folder, read_only=True) as answers:
            cut = answers._log.index.answer(given[4].key).offset
        os.truncate(segment_of(folder), cut)
        given = given[:4]
    with open_answers(folder) as answers:
        assert list(answers) == given
    assert sidecar.exists()
    with open_answers(folder, read_only=True) as answers:
        assert list(answers) == given


def test_with_its_index_a_store_opens_without_reading_its_segments(folder, small_segments, monkeypatch):
    given = filled(folder, 20)
    monkeypatch.setattr(segments, "read_all", None)
    with open_answers(folder) as answers:
        assert list(answers) == given


@pytest.mark.parametrize("how", ["nothing", "half", "truncate fails too"])
def test_a_full_disk_is_reported_and_loses_nothing_that_was_kept(folder, monkeypatch, how):
    real_write, real_truncate = os.pwrite, os.ftruncate
    is_full = True

    def write(handle: int, data: memoryview, offset: int) -> int:
        if not is_full:
            return real_write(handle, data, offset)
        if how == "nothing" or len(data) < 400:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(handle, data[: len(data) // 2], offset)

    def truncate(handle: int, size: int) -> None:
        if how == "truncate fails too" and is_full:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real_truncate(handle, size)

    with open_answers(folder) as answers:
        answers.put(answer(0))
        size = segment_of(folder).stat().st_size
        monkeypatch.setattr(os, "pwrite", write)
        monkeypatch.setattr(os, "ftruncate", truncate)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"(?s)(no space left on device|input/output error).*fix: "):
                answers.put(answer(1, "x" * 3000))
            assert ask(1).key not in answers
        assert answers.get(ask(0).key) == answer(0)
        if how != "truncate fails too":
            assert segment_of(folder).stat().st_size == size
        is_full = False
        assert answers.put(answer(1))
        assert answers.spent() == (0.0002, 0)
    with open_answers(folder, read_only=True) as answers:
        assert list(answers) == [answer(0), answer(1)]
        assert answers.damaged == ()


def test_a_disk_that_is_full_where_a_segment_should_begin_is_reported_and_may_be_tried_again(
    folder, small_segments, monkeypatch
):
    def fail(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_answers(folder) as answers:
        with monkeypatch.context() as full:
            full.setattr(segments, "create_segment", fail)
            with pytest.raises(StoreError, match="no space left"):
                for number in range(10):
                    answers.put(answer(number))
            count = len(answers)
            with pytest.raises(StoreError, match="no space left"):
                answers.put(answer(count))
        for number in range(10):
            answers.put(answer(number))
    with open_answers(folder, read_only=True) as answers:
        assert 0 < count < 10
        assert list(answers) == [answer(number) for number in range(10)]


def test_a_file_that_may_not_grow_is_reported_as_the_system_reports_it(folder):
    code = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
import test_answers as t
from vldata.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with t.open_answers(sys.argv[1]) as answers:
    answers.put(t.answer(0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    try:
        for number in range(1, 9):
            answers.put(t.answer(number))
    except StoreError as error:
        print(number, error.problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(Path(__file__).parent)], capture_output=True, text=True
    )
    assert done.stderr == ""
    number, problem = done.stdout.strip().split(" ", 1)
    assert problem == "file too large"
    with open_answers(folder, read_only=True) as answers:
        assert list(answers) == [answer(one) for one in range(int(number))]
        assert answers.damaged == ()


def test_a_disk_without_room_for_a_segment_is_refused_before_anything_is_spent(folder, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1 << 60)
    with pytest.raises(StoreError, match="needed"):
        open_answers(folder)
    monkeypatch.undo()
    open_answers(folder).close()


def test_an_answer_is_flushed_within_the_window_though_no_other_follows(folder, monkeypatch):
    flushed: list[float] = []
    real = os.fsync
    with open_answers(folder) as answers:
        monkeypatch.setattr(durable.os, "fsync", lambda handle: (real(handle), flushed.append(time.monotonic())))
        written_at = time.monotonic()
        answers.put(answer(1))
        assert not flushed  # nobody waited for it
        while not flushed and time.monotonic() < written_at + 10:
            time.sleep(0.01)
        assert flushed[0] - written_at >= durable.FLUSH_S * 0.9
        monkeypatch.undo()


def test_a_group_is_flushed_as_soon_as_it_is_full(folder, monkeypatch):
    monkeypatch.setattr(durable, "FLUSH_S", 3600.0)
    monkeypatch.setattr(durable, "FLUSH_WRITES", 4)
    sizes: list[int] = []
    real = os.fsync
    with open_answers(folder) as answers:
        monkeypatch.setattr(durable.os, "fsync", lambda handle: (real(handle), sizes.append(os.fstat(handle).st_size)))
        for number in range(3):
            answers.put(answer(number))
        time.sleep(0.05)
        assert not sizes
        answers.put(answer(3))
        ends = segment_of(folder).stat().st_size
        deadline = time.monotonic() + 10
        while not sizes and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sizes == [ends]
        answers.put(answer(4))
        answers.flush()
        assert sizes == [ends, segment_of(folder).stat().st_size]
        monkeypatch.undo()


def test_a_flush_that_fails_is_reported_by_every_call_after_it(folder, monkeypatch):
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    answers = open_answers(folder)
    answers.put(answer(1))
    monkeypatch.setattr(durable.os, "fsync", fail)
    with pytest.raises(StoreError, match="input/output error"):
        answers.flush()
    with pytest.raises(StoreError, match="input/output error"):
        answers.put(answer(2))
    monkeypatch.undo()
    with pytest.raises(StoreError, match="input/output error"):
        answers.close()
    with open_answers(folder) as answers:  # the lock was given back
        assert answers.get(ask(1).key) == answer(1)


DRIVER = """
import json, os, random, signal, sys, time
sys.path.insert(0, sys.argv[2])
import test_answers as t
from vldata.llm import segments, index

folder, rounds = sys.argv[1], int(sys.argv[3])
segments.SEGMENT_BYTES, index._FOLD_ROWS = 30_000, 50
moments = random.Random(3)
acknowledged, kills = set(), 0
for number in range(rounds):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with t.open_answers(folder) as answers:
            os.write(write, b"ready\\n")
            for one in map(t.answer, range(100_000)):
                if one.key not in answers:
                    answers.put(one)
                    os.write(write, b"%d\\n" % int(one.reply["id"][2:]))
        os._exit(0)
    os.close(write)
    pipe = os.fdopen(read, "rb")
    if number % 3:  # the others may be killed while they open
        pipe.readline()
        acknowledged |= {int(pipe.readline()) for _ in range(moments.randrange(2, 6))}  # however slow the machine is
    time.sleep(moments.random() * 0.03)
    os.kill(child, signal.SIGKILL)
    kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    acknowledged |= {int(line) for line in pipe if line.strip().isdigit() and line.endswith(b"\\n")}
    pipe.close()
    with t.open_answers(folder, read_only=True) as answers:
        assert answers.damaged == (), answers.damaged
        kept = [int(one.reply["id"][2:]) for one in answers]
    assert kept == list(range(len(kept))), "lost, twice, or out of order"
    assert acknowledged <= set(kept), sorted(acknowledged - set(kept))
print(json.dumps([kills, len(acknowledged), len(kept)]))
"""


def test_a_killed_writer_loses_nothing_damages_nothing_and_writes_nothing_twice(folder):
    rounds = 4 * KILLS
    arguments = [str(folder), str(Path(__file__).parent), str(rounds)]
    done = subprocess.run([sys.executable, "-c", DRIVER, *arguments], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    kills, num_acknowledged, num_kept = json.loads(done.stdout)
    assert kills == rounds
    assert rounds < num_acknowledged <= num_kept <= num_acknowledged + kills
    with open_answers(folder) as answers:
        assert answers.verify() == ()
        for number in range(num_kept):
            assert answers.get(ask(number).key) == answer(number)
        assert answers.spent() == (pytest.approx(num_kept * 0.0001), 0)
        assert answers.put(answer(num_kept))
    stored = b"".join(path.read_bytes() for path in sorted(folder.glob("*.answers")))
    assert stored.count(b"\xf7ans") == num_kept + 1


operations = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "fail", "reopen", "crash", "tear"]), st.integers(0, 12)),
    max_size=30,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_whatever_happens_to_it_a_store_holds_what_a_dict_would_hold(tmp_path_factory, monkeypatch, steps):
    monkeypatch.setattr(index, "_FOLD_ROWS", 3)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 2500)
    monkeypatch.setattr(durable.os, "fsync", lambda handle: None)  # the disk's time is no matter of this test
    folder = tmp_path_factory.mktemp("model")
    expected: dict[str, Answer] = {}
    failed: dict[str, int] = {}
    answers = open_answers(folder)
    for what, number in steps:
        key = ask(number).key
        if what == "put":
            assert answers.put(answer(number)) is (key not in expected)
            expected[key] = answer(number)
        elif what == "fail":
            answers.fail(key, ask(number), [Attempt(1.0, 500, "server_error")])
            failed[key] = failed.get(key, 0) + 1
        else:
            last = answers._log._path(answers._log._segment)
            saved = {path.name: path.read_bytes() for path in folder.glob("*.index")}
            answers.close()
            if what != "reopen":  # a crash leaves the sidecars that were there
                forget_index(folder)
                for name, data in saved.items():
                    (folder / name).write_bytes(data)
            if what == "tear":
                with last.open("ab") as file:
                    file.write(b"\xf7ans\x01"[: number % 6])
            answers = open_answers(folder)
            assert answers.damaged == ()
        assert dict(zip(answers.keys(), answers, strict=True)) == expected
        assert list(answers.keys()) == list(expected)
        assert answers.spent()[1] == sum(failed.values())
        assert {failure.key: len(failure.attempts) for failure in answers.failures()} == {
            key: count for key, count in failed.items() if key not in expected
        }
        assert all(answers.get(ask(other).key) == expected.get(ask(other).key) for other in range(13))
    answers.close()
    monkeypatch.undo()


def test_the_folder_is_the_environments_else_the_working_directorys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLDATA_ANSWERS", raising=False)
    with open_answers() as answers:
        assert answers.folder == tmp_path / ".vldata" / "answers"
    monkeypatch.setenv("VLDATA_ANSWERS", str(tmp_path / "elsewhere"))
    with open_answers() as answers:
        assert answers.folder == tmp_path / "elsewhere"


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match=r"holds 'thesis.tex'"):
        open_answers(tmp_path)
    assert names(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "problem"), [("vldata answers 2\n", "version 2"), ("vldata store 1\n", "is not an answer store's")]
)
@pytest.mark.parametrize("read_only", [True, False])
def test_a_folder_of_another_version_is_refused(folder, text, problem, read_only):
    filled(folder, 1)
    (folder / "VERSION").write_text(text)
    with pytest.raises(StoreError, match=problem):
        open_answers(folder, read_only=read_only)


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="file"):
        open_answers(tmp_path / "file" / "answers")


def test_answers_is_what_opening_gives(folder):
    with open_answers(folder) as answers:
        assert isinstance(answers, Answers)
        assert replace(answer(1), channel="batch") != answer(1)


def kept_in_segments(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int = 60) -> list[Path]:
    monkeypatch.setattr("vldata.llm.segments.SEGMENT_BYTES", 4_000)
    with open_answers(folder) as answers:
        for n in range(number):
            answers.put(answer(n))
    paths = sorted(folder.glob("*.answers"))
    assert len(paths) > 3
    return paths


@pytest.mark.parametrize("place", [0, 1, -1])
@pytest.mark.parametrize("with_index", [True, False])
def test_a_segment_that_is_missing_is_reported_and_its_place_is_left_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int, with_index: bool
) -> None:
    paths = kept_in_segments(tmp_path / "a", monkeypatch)
    gone = paths[place]
    data = gone.read_bytes()
    gone.unlink()
    if not with_index:
        gone.with_suffix(".index").unlink()
    for read_only in (True, False, True):
        with open_answers(tmp_path / "a", read_only=read_only) as answers:
            (missing,) = answers.damaged
            assert missing.is_missing and missing.path == gone and "is missing" in str(missing)
            lost = 60 - sum(ask(n).key in answers for n in range(60))
            assert lost > 0
            if not read_only:
                answers.put(answer(100))
    assert not gone.exists()
    gone.write_bytes(data)  # from a backup
    with open_answers(tmp_path / "a") as answers:
        assert not answers.damaged and all(ask(n).key in answers for n in (*range(60), 100))


def test_a_store_from_before_its_newest_segment_was_noted_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_in_segments(tmp_path / "a", monkeypatch)
    (tmp_path / "a" / "newest").unlink()
    with open_answers(tmp_path / "a") as answers:
        assert not answers.damaged and len(answers) == 60
