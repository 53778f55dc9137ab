"""Models that read and write: a small GPT that is shipped, and larger ones from archives that you have."""

from .gpt import GPT, Characters, gpt, plays
from .sentences import Sentences, minilm
from .smollm import smollm2
from .stories import stories15m

__all__ = ["GPT", "Characters", "Sentences", "gpt", "minilm", "plays", "smollm2", "stories15m"]
