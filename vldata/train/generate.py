"""Greedy answers for a pack of prompts: one packed prefill, then one token a step for all documents at once.

Keys and values are kept padded, (N, L, G, C), because lengths now grow together and a pack no longer helps.
Shapes: N documents, L longest prompt plus new tokens, H query heads, G key/value heads, C channels of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vldata.train.attention import packed_attention
from vldata.train.batch import Batch
from vldata.train.model import VLM


@torch.no_grad()
def generate(model: VLM, batch: Batch, max_new: int, stop_id: int, never: Sequence[int] = ()) -> list[list[int]]:
    """The likeliest continuation of each document, token by token, without ``stop_id``.

    Args:
        model: In evaluation mode.
        batch: Prompts, none empty; labels and weights are not read.
        max_new: Most tokens of an answer.
        stop_id: Ends an answer.
        never: Tokens that no answer holds, however likely: an image's place above all, for which there is no image.
    """
    forbidden = torch.tensor(list(never), dtype=torch.int64, device=batch.ids.device)
    cache = KVCache(batch, max_new)
    hidden = model(batch, cache)
    last = batch.cu_seqlens[1:].long() - 1
    hidden, positions = hidden[last], batch.positions[last]
    is_done = torch.zeros(len(last), dtype=torch.bool, device=hidden.device)
    answers = []
    for step in range(max_new):
        logits = F.linear(hidden.to(model.head_weight.dtype), model.head_weight)
        ids = logits.index_fill(1, forbidden, float("-inf")).argmax(-1)
        is_done |= ids == stop_id
        answers.append(ids.masked_fill(is_done, stop_id))
        if step + 1 == max_new or bool(is_done.all()):
            break
        positions = positions + 1
        x = model.decoder.embed_tokens(ids)
        hidden = model.decoder(x, positions, batch.cu_seqlens, batch.max_len, cache)
    rows: list[list[int]] = torch.stack(answers, dim=1).tolist() if answers else [[] for _ in last]
    return [row[: row.index(stop_id)] if stop_id in row else row for row in rows]


class KVCache:
    """Keys and values of a pack of documents, layer by layer.

    Args:
        batch: The prompts; the first pass through each layer is theirs.
        max_new: Most tokens that follow.
    """

    def __init__(self, batch: Batch, max_new: int) -> None:
        self.lengths = batch.cu_seqlens.diff().long()
        self.capacity = int(self.lengths.max()) + max_new
        self.document = torch.repeat_interleave(torch.arange(len(self.lengths), device=batch.ids.device), self.lengths)
        self.place = torch.arange(len(batch.ids), device=batch.ids.device) - batch.cu_seqlens.long()[self.document]
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.num_new: dict[int, int] = {}

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, max_len: int) -> Tensor:
        """Attention of q to all that ``layer`` has seen of each document, k and v included.

        Args:
            q: (T, H, C) of the prompts at first, then (N, H, C), one token of each document.
            k: As q, with G heads.
            cu_seqlens: (N + 1,), of the prompts.
        """
        if layer not in self.keys:
            shape = (len(self.lengths), self.capacity, *k.shape[1:])
            self.keys[layer], self.values[layer] = k.new_zeros(shape), v.new_zeros(shape)
            self.keys[layer][self.document, self.place] = k
            self.values[layer][self.document, self.place] = v
            self.num_new[layer] = 0
            return packed_attention(q, k, v, cu_seqlens, max_len)
        keys, values = self.keys[layer], self.values[layer]
        documents, places = torch.arange(len(q), device=q.device), self.lengths + self.num_new[layer]
        keys[documents, places], values[documents, places] = k, v
        self.num_new[layer] += 1
        seen = torch.arange(self.capacity, device=q.device) <= places[:, None]
        out = F.scaled_dot_product_attention(
            q[:, :, None],
            keys.transpose(1, 2),
            values.transpose(1, 2),
            attn_mask=seen[:, None, None],
            enable_gqa=q.shape[1] != k.shape[1],
        )
        return out.squeeze(2)
