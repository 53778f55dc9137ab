"""From a file to what a model takes, and from logits to names: what the owner of a picture does in plaintext."""

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...runtime.sockets import plain
from ..data import checked

PHOTOGRAPHS = ("chelsea", "coffee", "horse")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue


class PictureError(ValueError):
    """A file that is no picture, or one that cannot be turned into what the model takes without a guess."""


@dataclass(frozen=True)
class Preparation:
    """What becomes of a picture before a model sees it, as it was in training.

    The shorter side is brought to `resize`, the middle `crop` × `crop` is kept, and values in [0, 1] are normalised to
    (x - mean) / std. One mean for each channel: three are colours, one is grey.
    """

    resize: int
    crop: int
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def __post_init__(self):
        if not 0 < self.crop <= self.resize:
            raise ValueError(f"a crop of {self.crop} does not fit a shorter side of {self.resize}")
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean):
            raise ValueError(f"{len(self.mean)} means and {len(self.std)} deviations: one of each, or three")


IMAGENET = Preparation(256, 224)  # resnet18, resnet50
VIT = Preparation(224, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # Google's ViT checkpoints, and most after them
CIFAR = Preparation(32, 32)  # resnet20
DIGIT = Preparation(28, 28, (0.0,), (1.0,))  # lenet, which knows light digits on a dark ground


def picture(source, prepare: Preparation = IMAGENET) -> Tensor:
    """A picture as a batch of one, [1, 3, crop, crop] or [1, 1, crop, crop], float32; needs Pillow (mpckit[images]).

    `source`: a path, a file's bytes, an open binary file, or a PIL.Image. It is turned as its camera says (EXIF), the
    first frame counts, what is transparent becomes white, and grey, palettes and CMYK become red, green and blue (or
    all of them grey). Raises FileNotFoundError, PictureError for what is no picture, is damaged, has more than 8 bits a
    channel or is narrower than it may be, ModuleNotFoundError without Pillow.
    """
    Image = _pillow()
    from PIL import ImageOps

    name = source if isinstance(source, (str, Path)) else type(source).__name__
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = BytesIO(source)
    if not isinstance(source, (str, Path, Image.Image)) and not hasattr(source, "read"):
        raise PictureError(f"{name} is neither a path nor a file: of an array, give PIL.Image.fromarray(array)")
    try:
        image = source if isinstance(source, Image.Image) else Image.open(source, formats=_formats(Image))
        image = ImageOps.exif_transpose(image)  # reads all of it, too
    except (FileNotFoundError, IsADirectoryError):
        raise
    except Exception as error:  # a damaged file leads its decoder anywhere: SyntaxError, NotImplementedError …
        raise PictureError(f"{name} cannot be read as a picture: {error}") from error
    if image.mode[0] in "IF":
        raise PictureError(f"{name} has more than 8 bits a channel (mode {image.mode}): save it with 8 bits")
    image = _opaque(image).convert("RGB" if len(prepare.mean) == 3 else "L")
    short = min(image.size)
    if not short or max(image.size) > 20 * short:
        raise PictureError(f"{name} is {image.width}×{image.height}: a square from its middle would show nothing of it")
    width, height = (int(prepare.resize * side / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - prepare.crop) / 2), round((height - prepare.crop) / 2)
    image = image.crop((left, top, left + prepare.crop, top + prepare.crop))
    values = torch.from_numpy(np.array(image)).view(prepare.crop, prepare.crop, -1).movedim(-1, 0)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (prepare.mean, prepare.std))
    return ((values.float() / 255 - mean) / std).unsqueeze(0)


def _formats(Image) -> list[str]:
    """What Pillow reads by itself: PostScript is a program, which Pillow would have Ghostscript run."""
    Image.init()
    return [name for name in Image.OPEN if name != "EPS"]


def _pillow():
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures from disk need Pillow: pip install 'mpckit[images]'", name="PIL") from error
    return Image


def _opaque(image):
    """On white, if parts of it are transparent."""
    if not image.has_transparency_data:
        return image
    Image, image = _pillow(), image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def photograph(name: str = "chelsea"):
    """A shipped picture as a PIL.Image, for `picture` and for the eye: a cat "chelsea", a cup "coffee", a "horse".

    Raises KeyError for another name, ChecksumError when the file is damaged, ModuleNotFoundError without Pillow.
    """
    if name not in PHOTOGRAPHS:
        raise KeyError(f"no photograph {name!r}; there are: {', '.join(PHOTOGRAPHS)}")
    return _pillow().open(BytesIO(checked(f"{name}.png")))


# ---- names -----------------------------------------------------------------------------------------------------------


def class_names(path: str | Path) -> tuple[str, ...]:
    """The names of the classes, in order, from what comes with a checkpoint.

    A folder of `save_pretrained` or its config.json (`id2label`), a JSON list, a JSON object with the classes' numbers
    as keys, or a text file with one name a line. Raises FileNotFoundError, ValueError for a file with other content.
    """
    path = Path(path)
    path = path / "config.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return tuple(plain(line.strip()) for line in text.splitlines() if line.strip())
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as {'JSON' if path.suffix == '.json' else 'text'}: {error}") from error
    if isinstance(content, dict):
        content = content.get("id2label", content)
    if isinstance(content, dict):
        if sorted(content) != sorted(map(str, range(len(content)))):
            raise ValueError(f"{path} has no names of classes: neither id2label nor the keys 0 to n - 1")
        content = [content[str(i)] for i in range(len(content))]
    listed = content if isinstance(content, list) else []
    names = [entry[-1] if isinstance(entry, list) and entry else entry for entry in listed]
    if not names or not all(isinstance(entry, str) for entry in names):
        raise ValueError(f"{path} has no names of classes: a list of texts is wanted")
    return tuple(map(plain, names))


def top5(logits: Tensor, names: tuple[str, ...] | None = None, k: int = 5) -> list[tuple[str, float]]:
    """The `k` likeliest classes of one picture, [classes] or [1, classes] in plaintext: (name or number, probability).

    Raises ValueError for the logits of several pictures, and for another number of names than of classes.
    """
    if logits.dim() > 2 or (logits.dim() == 2 and len(logits) != 1):
        raise ValueError(f"logits {list(logits.shape)} are those of several pictures: give top5 one, logits[i]")
    logits = logits.reshape(-1)
    if names is not None and len(names) != len(logits):
        raise ValueError(f"{len(names)} names for {len(logits)} classes: take those that came with the checkpoint")
    best = logits.double().softmax(0).topk(min(k, len(logits)))
    return [(str(i) if names is None else names[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist())]
