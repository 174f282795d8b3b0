"""Sending and replaying synthetic requests, against a billing server on loopback.

    python tests/bench/synth.py [--requests 10000] [--pairs 5] [--concurrency 64] [--faults 0.05]

Sending is measured beside the bare transport, the same client posting the same bytes and decoding as little, which
keeps nothing: alternated runs, the median of the pairs' ratios of processor time, as the clock on the wall tells of
what else the machine does. Ours keeps every answer, draws on a budget with a ledger, and paces itself. A replay is a
second run over the same requests: once as `send_all` sees it, which only looks them up, and once with every answer read
from the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
import orjson
import psutil
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[2]))

from measure import Row, show

from vldata.llm.answers import open_answers
from vldata.llm.budget import BudgetLimits
from vldata.llm.endpoint import Endpoint
from vldata.llm.events import SendResult
from vldata.llm.prices import Price
from vldata.llm.request import Request
from vldata.llm.send import send
from vldata.synth.draws import Outcome
from vldata.synth.generate import load_kinds, replay
from vldata.synth.inputs import Inputs
from vldata.synth.models import Synth

PRICE = Price(input_usd_per_mtok=0.15, output_usd_per_mtok=0.6)


CAPTIONS = tuple(f"A person stands beside a red bicycle in front of brick wall {n}." for n in range(5))
SPEC = Synth.model_validate(
    {
        "from": "captions",
        "kind": "llava.conversation",
        "model": "tiny",
        "endpoint": "bench",
        "parameters": {"max_tokens": 256, "temperature": 0.7},
        "max_reasks": 0,
    }
)
KIND, _ = load_kinds(SPEC, "bench")


def samples(number: int) -> Iterator[Inputs]:
    """The inputs about each image."""
    for n in range(number):
        yield Inputs(row=f"{n:012d}.jpg", captions=(f"Image {n}.", *CAPTIONS))


def requests(number: int) -> Iterator[Request]:
    """As a recipe asks them: a system message, two few-shots and an input."""
    prompt = KIND.prompt(model=SPEC.model, endpoint=SPEC.endpoint, parameters=SPEC.parameters)
    for inputs in samples(number):
        yield KIND.write(inputs, prompt)


@contextmanager
def server(*options: str) -> Iterator[str]:
    """Its URL; a process of its own, as a real one would be."""
    command = [sys.executable, "-m", "tests.llm.server", *options]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)


def plain(url: str, number: int, concurrency: int) -> float:
    """Requests a second of processor time, of the bare transport."""

    async def main() -> None:
        limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        transport = openai.DefaultAsyncHttpx2Client(limits=limits)
        client = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=transport)
        source = requests(number)

        async def work() -> None:
            for request in source:
                response = await client.post(
                    "/chat/completions",
                    content=orjson.dumps(
                        {"model": request.model, "messages": list(request.messages), **request.parameters}
                    ),
                    cast_to=httpx2.Response,
                    options={"headers": {"Content-Type": "application/json"}},
                )
                orjson.loads(response.content)

        await asyncio.gather(*(work() for _ in range(concurrency)))
        await client.close()

    started = time.process_time()
    asyncio.run(main())
    return number / (time.process_time() - started)


def ours(url: str, folder: Path, number: int, concurrency: int) -> tuple[float, SendResult]:
    """Requests a second of processor time, of `send`, and what became of them."""
    endpoint = Endpoint("bench", url, SecretStr("none"), prices={"tiny": PRICE})
    limits = BudgetLimits(max_usd=1e6, concurrency=concurrency)
    started = time.process_time()
    with open_answers(folder / "answers") as answers:
        sent = send(
            requests(number),
            endpoint=endpoint,
            answers=answers,
            read_image=lambda part: b"",
            limits=limits,
            ledger=folder / "ledger",
        )
    return number / (time.process_time() - started), sent


def read_back(folder: Path, number: int) -> float:
    """Answers a second, found by their requests and read whole."""
    started = time.perf_counter()
    with open_answers(folder / "answers", read_only=True) as answers:
        num_read = sum(answers.get(request.key) is not None for request in requests(number))
    if num_read != number:
        raise SystemExit(f"{number - num_read} answers are missing")
    return number / (time.perf_counter() - started)


def counted(outcomes: Iterator[Outcome]) -> Counter[str | None]:
    """Why draws give no turns; None: they do."""
    return Counter(draw.problem for outcome in outcomes for draw in outcome.draws)


def checked(folder: Path, number: int) -> float:
    """Samples a second: requests written, answers read, parsed and checked."""
    started = time.perf_counter()
    with open_answers(folder / "answers", read_only=True) as answers:
        problems = replay(list(samples(number)), KIND, SPEC, answers, fold=counted)
    if problems != {None: number}:
        raise SystemExit(f"not every answer is kept: {problems}")
    return number / (time.perf_counter() - started)


def keyed(number: int) -> float:
    """Requests a second, only written and keyed: the part of a replay that is the caller's."""
    started = time.perf_counter()
    for request in requests(number):
        assert request.key
    return number / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--faults", type=float, default=0.05)
    options = parser.parse_args()
    number, concurrency = options.requests, options.concurrency
    folder = Path(tempfile.mkdtemp(prefix="vldata-synth-"))
    try:
        rates: list[tuple[float, float]] = []
        with server("--talks") as url:
            for pair in range(options.pairs):
                shutil.rmtree(folder)
                runs = [lambda: plain(url, number, concurrency), lambda: ours(url, folder, number, concurrency)[0]]
                order = (0, 1) if pair % 2 == 0 else (1, 0)
                measured = {which: runs[which]() for which in order}
                rates.append((measured[0], measured[1]))
        replay, sent = ours("http://127.0.0.1:9/v1", folder, number, concurrency)
        if sent.hits != number:
            raise SystemExit(f"only {sent.hits} of {number} requests were found in the store")
        read = read_back(folder, number)
        through = checked(folder, number)
        memory = psutil.Process().memory_info().rss / 2**20
        shutil.rmtree(folder)
        with server("--talks", "--faults", str(options.faults)) as url:
            faulty_rate, faulty = ours(url, folder, number, concurrency)
            bill = orjson.loads(urllib.request.urlopen(url.removesuffix("/v1") + "/bill").read())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratio = statistics.median(our_rate / plain_rate for plain_rate, our_rate in rates)
    plain_rate, our_rate = (statistics.median(column) for column in zip(*rates, strict=True))
    ended = faulty.answered + len(faulty.failed)
    rows: list[Row] = [
        ("the bare transport", f"{plain_rate:,.0f}/s", "", None),
        ("send, with store, budget and ledger", f"{our_rate:,.0f}/s", "", None),
        ("ratio, median of pairs", f"{ratio:.2f}", ">= 0.90", ratio >= 0.90),
        ("requests made and keyed", f"{keyed(number):,.0f}/s", "", None),
        ("replay: all found", f"{replay:,.0f}/s", "", None),
        ("replay: all read", f"{read:,.0f}/s", "", None),
        ("replay: all read, parsed and checked", f"{through:,.0f}/s", "", None),
        ("  beside sending", f"{through / our_rate:.0f} x", ">= 20 x", through >= 20 * our_rate),
        (f"with {options.faults:.0%} faults", f"{faulty_rate:,.0f}/s", "", None),
        ("  answered or given up, of all", f"{ended}/{number}", f"{number}", ended == number),
        ("  distinct <= billed", f"{bill['distinct']} <= {bill['billed']}", "", bill["distinct"] <= bill["billed"]),
        ("resident memory at the end", f"{memory:.0f} MiB", "", None),
    ]
    if not show(f"{number:,} requests, {concurrency} at once", rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
