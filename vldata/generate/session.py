"""What the commands of `vldata synth` do with a recipe: plan, send, look at answers, and the same by batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vldata.errors import StoreError
from vldata.generate.batch import (
    Polling,
    Tally,
    collected_row,
    is_end,
    is_lost,
    left_usd_after,
    not_submitted,
    submitted_row,
)
from vldata.generate.batch_files import Payer, export_source, import_files
from vldata.generate.canary import canaries, stop_of
from vldata.generate.places import SynthOptions as SynthOptions
from vldata.generate.places import SynthPlaces
from vldata.generate.plan import planned_chain
from vldata.generate.run import Asking, send_pending
from vldata.generate.show import shown_draws
from vldata.generate.sources import SynthSource, answers_so_far
from vldata.generate.status import state_of
from vldata.llm.answers import Answers, open_answers
from vldata.llm.batch.book import open_book
from vldata.llm.batch.collect import BatchResults, cancel, collect, poll
from vldata.llm.batch.lines import BatchLimits
from vldata.llm.batch.route import State
from vldata.llm.batch.submit import SubmitResult, submit
from vldata.llm.endpoint import Endpoint
from vldata.llm.endpoint_specs import load_endpoints
from vldata.llm.request import Request


@dataclass(frozen=True)
class SynthSession(SynthPlaces):
    """A recipe with synthetic sources, the answers to its requests, and the ledgers of what these cost.

    Nothing is held open between two calls. Each raises a `vldata.errors.VldataError` when a source, an endpoint or the
    answer store cannot be used.
    """

    def plan(self) -> list[dict[str, Any]]:
        """What a run would send, per source: requests, hits, why the others are new, tokens and cost.

        ``cost_usd`` holds ``low`` (prompts alone), ``expected`` (answers as long as the ones that are there, else half
        of what is allowed) and ``max`` (every answer as long as it may be, every byte of a prompt a token); None:
        unknown. ``reasks`` is what ``reask`` would send on top; ``later`` what may follow from the answers of earlier
        sources of a chain, as ranges; ``unusable`` the samples about which nothing is sent, by reason.
        """
        with self.sources() as sources, answers_so_far(self.folder) as answers:
            rows = planned_chain(sources, answers, load_endpoints())
            return [{"source": name, **row} for name, row in rows.items() if name in self.names]

    def status(self) -> list[dict[str, Any]]:
        """What is there of every source: draws kept, pending, dropped and repaired by reason, and what all cost.

        ``damaged`` lists every place of the answer store that was found damaged on the way, whatever request its answer
        belongs to: ``file``, ``offset`` in bytes and ``key`` of the request, which is None when that cannot be read.
        """
        with self.sources() as sources, answers_so_far(self.folder) as answers:
            rows = [{"source": name, **state_of(source, answers)} for name, source in sources.at(answers)]
            damaged = [{"file": place.path.name, "offset": place.offset, "key": place.key} for place in answers.damaged]
            return [{**row, "damaged": damaged} for row in rows]

    def show(self, *, only: str | None = None, limit: int = 5) -> list[dict[str, Any]]:
        """Draws side by side with the request, the reply, how it was parsed and the findings.

        Args:
            only: ``kept``, a reason, or a sample's row; None: whatever comes first.
            limit: At most N of each source.
        """
        with self.sources() as sources, answers_so_far(self.folder) as answers:
            return [
                {"source": name, **draw}
                for name, source in sources.at(answers)
                for draw in shown_draws(source, answers, only, limit)
            ]

    def run(
        self, *, retry: bool = False, begin: Callable[[str, int], None] = lambda name, total: None
    ) -> list[dict[str, Any]]:
        """Request every answer that is pending, until none is or something stops it.

        Args:
            retry: Also what the endpoint refused for good, such as by its content policy.
            begin: Gets each source with the number of its requests, should none be repeated.
        """
        rows: list[dict[str, Any]] = []
        left_usd = self.options.max_usd
        with self.sources() as sources, open_answers(self.folder) as answers:
            for name, source in sources.at(answers):
                begin(name, source.num_expected)
                sent = send_pending(
                    source,
                    self._asking(retry),
                    endpoint=self._endpoint(source),
                    answers=answers,
                    limits=self._limits(source, left_usd),
                    ledger=self._ledger(name),
                    watch=partial(self.watch, name),
                )
                rows.append({"source": name, **sent, **state_of(source, answers)})
                left_usd = None if left_usd is None else left_usd - sent["spent_usd"]
                if sent["stopped"] is not None:
                    break
        return rows

    def submit(self, limits: BatchLimits = BatchLimits(), *, retry: bool = False) -> list[dict[str, Any]]:  # noqa: B008
        """Send what is pending in batches, and do not wait.

        Args:
            retry: Also what the endpoint refused for good.
        """
        rows = []
        left_usd = self.options.max_usd
        with self.sources() as sources, open_answers(self.folder) as answers:
            for name, source in sources.at(answers):
                asking = self._asking(retry)
                requests = source.pending(answers, set(), retry=retry, reask=asking.reask)
                submitted = self._submit(source, list(requests), answers, asking, limits, left_usd)
                left_usd = left_usd_after(submitted, left_usd)
                rows.append({"source": name, **submitted_row(submitted)})
                if is_end(submitted.stopped):
                    break
        return rows

    def collect(self, *, forget: bool = False) -> list[dict[str, Any]]:
        """Take the answers of batches that have ended, of every endpoint that the recipe names.

        Reads no source, and takes also what other recipes sent to the same endpoints: it is paid for.

        Args:
            forget: Give up batches that the endpoint does not know any more.
        """
        with open_answers(self.folder) as answers:
            return [collected_row(endpoint, self._collect(endpoint, answers, forget)) for endpoint in self._endpoints()]

    def run_batch(
        self,
        limits: BatchLimits = BatchLimits(),  # noqa: B008 - frozen, as is the next
        polling: Polling = Polling(),  # noqa: B008
        *,
        retry: bool = False,
        forget: bool = False,
    ) -> dict[str, Any]:
        """Submit, wait and collect until nothing is pending and no batch is open; it may be ended and resumed anywhere.

        The answer store is open only while something is put into it, so that others can write while this waits.

        Args:
            retry: As for `submit`.
            forget: As for `collect`.
        """
        total: Counter[str] = Counter()
        tally, states = Tally(), tuple[State, ...]()
        tried: set[str] = set()
        left_usd = self.options.max_usd
        with self.sources() as sources:
            endpoints = list(self._endpoints())
            while True:
                tally.stopped = None
                with open_answers(self.folder) as answers:
                    for endpoint in endpoints:
                        tally.add(self._collect(endpoint, answers, forget))
                    for _, source in sources.at(answers):
                        if is_end(tally.stopped):
                            break
                        asking = self._asking(retry)
                        requests = list(source.pending(answers, set(tried), retry=retry, reask=asking.reask))
                        submitted = self._submit(source, requests, answers, asking, limits, left_usd)
                        left_usd = left_usd_after(submitted, left_usd)
                        with open_book(self.folder, read_only=True) as book:
                            keys_sent = book.keys_sent()
                        tried |= {r.key for r in requests if r.key in keys_sent} | submitted.left_out.keys()
                        total += Counter(
                            batches=submitted.batches, requests=submitted.requests, left_out=len(submitted.left_out)
                        )
                        if tally.stopped is None or is_end(submitted.stopped):
                            tally.stopped = submitted.stopped
                if is_end(tally.stopped):
                    break
                states = polling.until_ready(partial(self._states, endpoints))
                if is_lost(states):
                    break  # under a limit it runs on: what comes back may make room
            with answers_so_far(self.folder) as answers_read:
                pending = {r.key for _, one in sources.at(answers_read) for r in one.pending(answers_read, set())}
        return {
            **{name: total[name] for name in ("batches", "requests", "left_out")},
            **tally.row(),
            "wanting": len(pending),
            "open": [asdict(state) for state in states],
        }

    def cancel(self, polling: Polling = Polling(), *, wait: bool = True) -> dict[str, Any]:  # noqa: B008 - frozen
        """End the recipe's open batches early, and settle what was charged for them.

        What the endpoint has answered by then is billed, and kept; the rest of the charge is given back when a batch
        has ended, which may take it some minutes. Reads no source.

        Args:
            wait: Until all have ended; else a later call, or `collect`, settles them.
        """
        labels = {self._label(name) for name in self.names}
        endpoints = list(self._endpoints())
        tally = Tally()
        cancelled: set[str] = set()
        while True:
            states, tally.stopped = list[State](), None
            with open_answers(self.folder) as answers:
                for endpoint in endpoints:
                    cancelled |= {state.part for state in cancel(endpoint=endpoint, answers=answers, labels=labels)}
                    results = self._collect(endpoint, answers)
                    tally.add(results)
                    states += [state for state in results.open if state.label in labels]
            if not wait or tally.stopped is not None or is_lost(states):
                break
            polling.wait(states)
        return {"cancelled": len(cancelled), **tally.row(), "open": [asdict(state) for state in states]}

    def export(
        self,
        folder: Path,
        limits: BatchLimits = BatchLimits(),  # noqa: B008 - frozen
        *,
        retry: bool = False,
    ) -> list[dict[str, Any]]:
        """Write what is pending as files for a Batch API, and send nothing.

        Args:
            folder: New; with a folder for each source where there are several.
            retry: Also what the endpoint refused for good.
        """
        with open_answers(self.folder):
            pass  # made, if there is none: what is exported is kept there too
        with self.sources() as sources, answers_so_far(self.folder) as answers:
            return [
                {
                    "source": name,
                    **export_source(
                        source,
                        self.folder,
                        folder / name if len(self.names) > 1 else folder,
                        limits,
                        self._asking(retry),
                    ),
                }
                for name, source in sources.at(answers)
            ]

    def import_(self, files: Sequence[Path]) -> dict[str, Any]:
        """Take output files and error files of a Batch API back; lines of all sources may be mixed.

        Args:
            files: As the provider gave them, for what was exported from this recipe or from another one.
        """
        for path in files:
            if not path.is_file():
                raise StoreError(str(path), "is not a file", "give the output and the error files of your batches")
        with self.sources() as sources, open_answers(self.folder) as answers:
            meant = dict(sources.at(answers))
            payers = {name: Payer(self._endpoint(source), self._ledger(name)) for name, source in meant.items()}
            return import_files(files, answers, meant, payers, self.watch)

    def _submit(
        self,
        source: SynthSource,
        requests: Iterable[Request],
        answers: Answers,
        asking: Asking,
        limits: BatchLimits,
        left_usd: float | None,
    ) -> SubmitResult:
        """Send requests of one source; ``left_usd`` is what this run may still charge."""
        name = source.entry.name
        if asking.canary and (stop := stop_of(canaries(source, answers, {}, retry=asking.retry))) is not None:
            return not_submitted(stop[0])
        return submit(
            requests,
            endpoint=self._endpoint(source),
            answers=answers,
            read_image=source.image,
            limits=self._limits(source, left_usd),
            ledger=self._ledger(name),
            label=self._label(name),
            batch_limits=limits,
        )

    def _collect(self, endpoint: Endpoint, answers: Answers, forget: bool = False) -> BatchResults:
        return collect(endpoint=endpoint, answers=answers, forget=forget, watch=partial(self.watch, endpoint.name))

    def _states(self, endpoints: Iterable[Endpoint]) -> tuple[State, ...]:
        return tuple(state for endpoint in endpoints for state in poll(endpoint=endpoint, answers=self.folder))
