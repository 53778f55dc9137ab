"""From a file to what a model takes, and from logits to names:

    x = picture("cat.jpg", CIFAR)  # or picture(photograph("chelsea"), CIFAR), which is shipped
    top5(logits, CIFAR10)
"""

import io
import json
import random
import sys

import numpy as np
import pytest
import torch

import mpckit as mk
from mpckit.zoo import CIFAR, CIFAR10, DIGIT, IMAGENET, VIT, class_names, lenet, photograph, picture, resnet20, top5
from mpckit.zoo.vision import PictureError, Preparation

Image = pytest.importorskip("PIL.Image", reason="mpckit[images] is not installed")
PLAIN = Preparation(8, 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def blank(mode="RGB", size=(8, 8), color=None):
    return Image.new(mode, size, color if color is not None else {"RGB": (255, 0, 51)}.get(mode, 0))


def test_the_example(tmp_path):
    photograph("chelsea").save(tmp_path / "cat.jpg")
    x = picture(tmp_path / "cat.jpg", CIFAR)
    with torch.no_grad():
        best = top5(resnet20(pretrained=True)(x), CIFAR10)
    assert len(best) == 5 and best[0][0] == "cat" and best[0][1] > 0.9


@pytest.mark.parametrize("suite", ["bits", "fss"])
def test_a_cat_and_a_horse_seen_while_encrypted(suite):
    x, model = torch.cat([picture(photograph(name), CIFAR) for name in ("chelsea", "horse")]), resnet20(pretrained=True)
    with torch.no_grad(), mk.simulate(suite=suite):
        logits = mk.private(mk.fold(model), owner=1)(mk.secret(x, owner=0)).reveal(to=0)
    assert [top5(row, CIFAR10, 1)[0][0] for row in logits] == ["cat", "horse"]
    torch.testing.assert_close(logits, model(x).detach(), atol=0.02, rtol=0)


def test_photographs_have_names():
    assert photograph().size == (451, 300) and photograph("horse").mode == "RGBA"
    with pytest.raises(KeyError, match="no photograph 'dog'; there are: chelsea, coffee, horse"):
        photograph("dog")


def test_values_are_normalised(tmp_path):
    blank(size=(64, 48)).save(tmp_path / "red.png")
    x = picture(tmp_path / "red.png", CIFAR)
    assert x.shape == (1, 3, 32, 32) and x.dtype == torch.float32
    want = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(x[0, :, 9, 9], want)


def test_shapes_of_the_four_preparations():
    wide = blank(size=(500, 300))
    assert [tuple(picture(wide, p).shape) for p in (IMAGENET, VIT, CIFAR, DIGIT)] == [
        (1, 3, 224, 224), (1, 3, 224, 224), (1, 3, 32, 32), (1, 1, 28, 28)
    ]  # fmt: skip
    assert lenet()(picture(wide, DIGIT)).shape == (1, 10)


def test_the_shorter_side_is_resized_and_the_middle_kept():
    values = np.zeros((8, 24, 3), np.uint8)
    values[:, 8:16] = 255
    assert (picture(Image.fromarray(values), PLAIN) == 1).all()
    assert (picture(Image.fromarray(values.transpose(1, 0, 2)), PLAIN) == 1).all()


@pytest.mark.parametrize(
    ("mode", "color", "want"),
    [
        ("L", 51, [0.2, 0.2, 0.2]),
        ("1", 1, [1, 1, 1]),
        ("RGBA", (0, 0, 0, 0), [1, 1, 1]),  # what is transparent becomes white …
        ("RGBA", (255, 0, 51, 255), [1, 0, 0.2]),  # … and what is opaque stays
        ("LA", (0, 0), [1, 1, 1]),
        ("CMYK", (0, 255, 204, 0), [1, 0, 0.2]),
        ("YCbCr", (128, 128, 128), [128 / 255] * 3),
    ],
)
def test_other_modes_become_colours(mode, color, want):
    torch.testing.assert_close(picture(blank(mode, color=color), PLAIN)[0, :, 3, 3], torch.tensor(want).float())


def test_a_palette_with_a_transparent_entry():
    image = blank().quantize(2)
    image.info["transparency"] = image.getpixel((0, 0))
    assert (picture(image, PLAIN) == 1).all()


def test_a_camera_that_was_held_sideways():
    values = np.zeros((8, 8, 3), np.uint8)
    values[0] = 255
    stored = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it
    Image.fromarray(values).save(stored, "PNG", exif=exif)
    x = picture(stored, PLAIN)[0, 0]
    assert (x[:, -1] == 1).all() and (x[:, :-1] == 0).all()


def test_sixteen_bits_are_refused_rather_than_cut():
    with pytest.raises(PictureError, match=r"more than 8 bits a channel \(mode I;16\): save it with 8 bits"):
        picture(Image.fromarray(np.full((8, 8), 40_000, np.uint16)))


def test_files_that_are_no_pictures(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(PictureError, match="text.png cannot be read as a picture"):
        picture(tmp_path / "text.png")
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "JPEG")
    with pytest.raises(PictureError, match="BytesIO cannot be read as a picture: .*truncated"):
        picture(io.BytesIO(whole.getvalue()[:900]))
    with pytest.raises(PictureError, match="bytes cannot be read as a picture: .*truncated"):
        picture(whole.getvalue()[:900])
    assert torch.equal(picture(whole.getvalue()), picture(whole))
    with pytest.raises(PictureError, match="ndarray is neither a path nor a file: of an array, give PIL.Image"):
        picture(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(FileNotFoundError):
        picture(tmp_path / "absent.png")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(file) run\n%%EOF\n"


def test_a_picture_that_is_a_program_is_not_run(monkeypatch):
    """Pillow would hand PostScript to Ghostscript."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("somebody's program was run"))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    with pytest.raises(PictureError, match="cannot identify image file"):
        picture(POSTSCRIPT)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "DDS"])
def test_whatever_a_damaged_picture_leads_to_it_is_named(form):
    """Two hundred mutations of each kind of file: decoders raise what their first wrong byte leads them to."""
    rng, whole, outcomes = random.Random(form), io.BytesIO(), set()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 16, 3), dtype=np.uint8)).save(whole, form)
    for _ in range(200):
        content = bytearray(whole.getvalue())
        for _ in range(rng.choice([1, 2, 6])):
            content[rng.randrange(min(120, len(content)))] = rng.choice([0, 255, rng.randrange(256)])
        try:
            picture(bytes(content), DIGIT)
            outcomes.add("read")
        except PictureError:
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize("size", [(500, 8), (8, 500), (0, 0)])
def test_a_strip_is_no_picture(size):
    with pytest.raises(PictureError, match=f"is {size[0]}×{size[1]}: a square from its middle would show nothing"):
        picture(blank(size=size))


def test_without_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"need Pillow: pip install 'mpckit\[images\]'"):
        picture("cat.jpg")


@pytest.mark.parametrize("wrong", [(32, 40), (0, 0), (32, 32, (0.5,) * 2, (1.0,) * 2), (32, 32, (0.5,) * 3, (1.0,))])
def test_preparations_that_make_no_sense(wrong):
    with pytest.raises(ValueError):
        Preparation(*wrong)


# ---- names -----------------------------------------------------------------------------------------------------------


def test_top5_of_five_and_of_fewer():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    assert [name for name, _ in top5(logits, ("a", "b", "c"))] == ["b", "c", "a"]
    best = top5(logits[0], k=2)
    assert [name for name, _ in best] == ["1", "2"]
    assert best[0][1] == pytest.approx(logits[0].softmax(0)[1].item())


def test_names_that_do_not_belong_to_these_logits():
    with pytest.raises(ValueError, match="2 names for 3 classes"):
        top5(torch.zeros(3), ("a", "b"))
    with pytest.raises(ValueError, match=r"logits \[2, 3\] are those of several pictures: give top5 one"):
        top5(torch.zeros(2, 3))


NAMES = ("tench", "goldfish")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", "tench\ngoldfish\n\n"),
        ("names.json", json.dumps(NAMES)),
        ("config.json", json.dumps({"id2label": {"1": "goldfish", "0": "tench"}, "depths": [2]})),
        ("index.json", json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]})),
    ],
)
def test_names_from_what_comes_with_a_checkpoint(file, content, tmp_path):
    (tmp_path / file).write_text(content)
    assert class_names(tmp_path / file) == NAMES
    if file == "config.json":
        assert class_names(tmp_path) == NAMES


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"{nonsense"])
def test_names_that_cannot_be_read(content, tmp_path):
    for name in ("config.json", "names.txt") if content == b"\xff\xfe" else ("config.json",):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as (JSON|text)"):
            class_names(tmp_path / name)


def test_names_do_not_steer_a_terminal(tmp_path):
    (tmp_path / "names.json").write_text(json.dumps(["tench", "\x1b[2Jgold\x07fish"]))
    (tmp_path / "names.txt").write_text("tench\n\x1b[2Jgold\x07fish\n")
    for name in ("names.json", "names.txt"):
        assert class_names(tmp_path / name) == ("tench", "?[2Jgold?fish")


@pytest.mark.parametrize(
    "content", [{"depths": [2]}, {"id2label": {"1": "goldfish"}}, [1, 2], {}, [[]], 5, None, "tench", {"id2label": 5}]
)
def test_files_without_names(content, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="has no names of classes"):
        class_names(tmp_path)
