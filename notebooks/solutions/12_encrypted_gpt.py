"""Solutions to the puzzles of notebook 12. A test fills them in and runs the notebook."""

import torch


def embed(ids, table):
    return torch.nn.functional.embedding(ids, table)


def choose(logits, allowed):
    penalty = torch.full((logits.shape[-1],), -1000.0)
    penalty[allowed] = 0
    return (logits + penalty).argmax(-1)
