"""Models that listen: features at the client, networks in plain torch, clips, and a transcript while somebody speaks.

The shipped weights have heard six speakers say ten words. They do not know other voices and words: what they answer to
yours is mostly wrong. They are here because their answers under the protocol are those of plaintext.
"""

from .audio import AudioError, check_audio, level, load_audio, mono, resample
from .clips import Clips, spoken_digits, spoken_strings
from .features import RATE, log_mel
from .networks import LETTERS, WORDS, Keyword, Letters, Wav2Letter, keyword, letters, spell, wav2letter
from .streaming import Chunk, Heard, chunks, stream, transcribe

__all__ = [
    "AudioError",
    "Chunk",
    "Clips",
    "Heard",
    "Keyword",
    "LETTERS",
    "Letters",
    "RATE",
    "WORDS",
    "Wav2Letter",
    "check_audio",
    "chunks",
    "keyword",
    "letters",
    "level",
    "load_audio",
    "log_mel",
    "mono",
    "resample",
    "spell",
    "spoken_digits",
    "spoken_strings",
    "stream",
    "transcribe",
    "wav2letter",
]
