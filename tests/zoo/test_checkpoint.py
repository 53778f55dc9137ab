"""A checkpoint from elsewhere, by torchvision's names or Hugging Face's:

resnet18(checkpoint="resnet18-f37072fd.pth")
resnet18(checkpoint="folder/of/save_pretrained")
"""

import json
import random
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mpckit.zoo import resnet18, resnet50
from mpckit.zoo.vision import CheckpointError
from mpckit.zoo.vision.checkpoint import read, settle
from mpckit.zoo.vision.resnet import Basic, Bottleneck, ResNet

X = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def narrow(block=Basic, depths=(2, 2), classes=5) -> ResNet:
    return ResNet(block, depths, classes, width=4).eval()


def filled(seed: int = 0) -> ResNet:
    """Every number another one, so that a tensor in a wrong place is seen."""
    torch.manual_seed(seed)
    model = narrow()
    with torch.no_grad():
        for t in model.state_dict().values():
            if t.is_floating_point():
                t.copy_(torch.rand_like(t) * 0.2 + 0.1)
    return model


@pytest.fixture
def state():
    return filled().state_dict()


def test_the_example(tmp_path):
    torch.manual_seed(0)
    original = resnet18(classes=7)
    torch.save(original.state_dict(), tmp_path / "resnet18.pth")
    model = resnet18(checkpoint=tmp_path / "resnet18.pth")
    with torch.no_grad():
        assert torch.equal(model(X), original(X)) and model(X).shape == (2, 7)


@pytest.mark.parametrize(("build", "norms", "blocks"), [(resnet18, 20, 8), (resnet50, 53, 16)])
def test_names_are_torchvisions(build, norms, blocks):
    """Its list, in its order: conv, norm, conv …, the shortcut last in a block; fc last of all."""
    with torch.device("meta"):
        names = list(build().state_dict())
    convolutions = 2 if build is resnet18 else 3
    steps = [f"{kind}{i}" for i in range(1, convolutions + 1) for kind in ("conv", "bn")]
    expected = ["conv1", "bn1"]
    for stage, depth in enumerate((2, 2, 2, 2) if build is resnet18 else (3, 4, 6, 3), 1):
        for block in range(depth):
            down = ["downsample.0", "downsample.1"] if block == 0 and (stage > 1 or build is resnet50) else []
            expected += [f"layer{stage}.{block}.{step}" for step in (*steps, *down)]
    assert list(dict.fromkeys(name.rpartition(".")[0] for name in names)) == [*expected, "fc"]
    assert sum(name.endswith("running_var") for name in names) == norms
    assert len({name.split(".conv1")[0] for name in names if ".conv1" in name}) == blocks


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_files_of_weights(state, suffix, wrap, tmp_path):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(wrap({"module." + k: v for k, v in state.items()}), path)  # as DataParallel names them
    assert read(path).keys() == state.keys()
    settle(model := narrow(), read(path), path)
    assert torch.equal(model(X), filled()(X))


def test_norms_may_lack_what_inference_does_not_use(state):
    few = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    settle(model := narrow(), few, "few")
    assert torch.equal(model(X), filled()(X))


# ---- Hugging Face ----------------------------------------------------------------------------------------------------

HUGGING_FACE = {  # theirs → torchvision's, of a ResNet with two blocks of each kind in its stages
    "resnet.embedder.embedder.convolution.weight": "conv1.weight",
    "resnet.embedder.embedder.normalization.running_mean": "bn1.running_mean",
    "resnet.encoder.stages.0.layers.1.layer.0.convolution.weight": "layer1.1.conv1.weight",
    "resnet.encoder.stages.0.layers.1.layer.0.normalization.weight": "layer1.1.bn1.weight",
    "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight": "layer2.0.downsample.0.weight",
    "resnet.encoder.stages.1.layers.0.shortcut.normalization.bias": "layer2.0.downsample.1.bias",
    "resnet.encoder.stages.3.layers.0.layer.2.normalization.num_batches_tracked": "layer4.0.bn3.num_batches_tracked",
    "classifier.1.weight": "fc.weight",
    "classifier.1.bias": "fc.bias",
}


def test_hugging_faces_names_are_read(tmp_path):
    save_file({name: torch.full((2,), i) for i, name in enumerate(HUGGING_FACE)}, tmp_path / "model.safetensors")
    found = read(tmp_path)
    assert {name: int(value[0]) for name, value in found.items()} == {
        name: i for i, name in enumerate(HUGGING_FACE.values())
    }


@pytest.mark.parametrize(("block", "kind"), [(Basic, "basic"), (Bottleneck, "bottleneck")])
def test_hugging_faces_own_networks_agree(block, kind, tmp_path):
    transformers = pytest.importorskip("transformers", reason="mpckit[hf] is not installed")
    torch.manual_seed(0)
    sizes = [4 * block.expansion << k for k in range(3)]
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=sizes, depths=[1, 2, 1], layer_type=kind, num_labels=5
    )
    original = transformers.ResNetForImageClassification(config).eval()
    for m in original.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean, -0.3, 0.3)
            nn.init.uniform_(m.running_var, 0.5, 2)
    original.save_pretrained(tmp_path)
    settle(model := narrow(block, (1, 2, 1)), read(tmp_path), tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(model(X), original(X).logits)


def test_networks_whose_strides_lie_elsewhere_are_refused(state, tmp_path):
    """Names and shapes are the same, results are not."""
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"downsample_in_bottleneck": True}))
    with pytest.raises(CheckpointError, match="says downsample_in_bottleneck=True; the networks here have False only"):
        read(tmp_path)


# ---- what is wrong with a file ---------------------------------------------------------------------------------------


class Code:
    def __reduce__(self):
        return print, ("code ran",)


def test_a_pickle_with_code_is_not_run(tmp_path, capsys):
    torch.save({"fc.weight": Code()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="holds more than weights, which could run code, so it was not loaded"):
        resnet18(checkpoint=tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


def test_a_whole_model_in_a_pickle_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"save its state_dict\(\) with safetensors"):
        resnet18(checkpoint=tmp_path / "model.pth")


def test_a_file_that_is_not_there():
    with pytest.raises(CheckpointError, match="there is no file absent.pth: download the checkpoint first"):
        resnet18(checkpoint="absent.pth")


def test_an_empty_folder(tmp_path):
    with pytest.raises(CheckpointError, match="neither model.safetensors nor pytorch_model.bin"):
        resnet50(checkpoint=tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_download_that_broke_off(state, suffix, keep, tmp_path):
    path = tmp_path / f"half{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="half"):
        read(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_a_damaged_file_is_named_whatever_its_reader_raises(how, tmp_path):
    """A thousand mutations each: pickles raise KeyError, UnicodeError … where their first wrong byte leads them."""
    rng, path, outcomes = random.Random(7), tmp_path / "damaged.pth", set()
    torch.save({"conv1.weight": torch.ones(2, 3), "bn1.running_mean": torch.zeros(3)}, path, **how)
    good = path.read_bytes()
    for _ in range(1000):
        content = bytearray(good)
        for _ in range(rng.choice([1, 2, 8])):
            at = rng.randrange(len(content))
            content[at : at + rng.choice([0, 1, 3])] = rng.choice([b"", b"\xff", b"\0", rng.randbytes(2)])
        path.write_bytes(content)
        try:
            read(path)
            outcomes.add("read")
        except CheckpointError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_an_archive_that_unfolds_is_refused_before_it_does(tmp_path):
    """16 MB of zeros in 16 kB, as torch's reader would inflate them."""
    torch.save({"fc.weight": torch.zeros(1 << 22)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry))
    assert (tmp_path / "bomb.pth").stat().st_size < 1 << 16
    with pytest.raises(CheckpointError, match="bomb.pth is a compressed archive of 16.* bytes, which torch.save does"):
        read(tmp_path / "bomb.pth")
    assert read(tmp_path / "plain.pth").keys() == {"fc.weight"}


HOLLOW = {
    "a view": lambda w: w[:1, :1].clone().expand(10**12, 512),
    "shapes alone": lambda w: w.to("meta"),
    "sparse": lambda w: w.to_sparse(),
    "nested": lambda w: torch.nested.nested_tensor([w, w]),
    "quantized": lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", HOLLOW)
def test_tensors_whose_numbers_are_not_in_the_file(what, state, tmp_path):
    """A last layer of a trillion classes in a few bytes would be allocated before shapes are compared."""
    state["fc.weight"] = HOLLOW[what](state["fc.weight"])
    torch.save(state, tmp_path / "hollow.pth")
    with pytest.raises(CheckpointError, match="hollow.pth does not hold all numbers of fc.weight"):
        resnet18(checkpoint=tmp_path / "hollow.pth")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("conv1.weight", lambda w: w * float("nan"), "nan or infinite: conv1.weight"),
        ("fc.bias", lambda w: w - float("inf"), "nan or infinite: fc.bias"),
        ("bn1.running_var", lambda w: w - 1, "variances below zero: bn1.running_var"),
        ("conv1.weight", lambda w: w.to(torch.float8_e4m3fn), "no fractions: conv1.weight"),
        ("conv1.weight", lambda w: w.to(torch.complex64), "no fractions: conv1.weight"),
    ],
)
def test_weights_that_no_model_computes_with(name, change, message, state):
    state[name] = change(state[name])
    with pytest.raises(CheckpointError, match=message):
        settle(narrow(), state, "file.pth")


def test_one_parameter_under_two_names(state, tmp_path):
    state["module.fc.bias"] = state["fc.bias"] + 1
    torch.save(state, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match="two tensors for one parameter"):
        read(tmp_path / "two.pth")


def test_names_from_a_file_do_not_steer_a_terminal(state):
    with pytest.raises(CheckpointError) as caught:
        settle(narrow(), state | {"\x1b[2J\x1b]0;mine\x07": torch.zeros(1)}, "file.pth")
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.parametrize("content", [b"{nonsense", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_configuration_that_is_none(content, state, tmp_path):
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="config.json (cannot be read as JSON|is no configuration)"):
        read(tmp_path)


@pytest.mark.parametrize("state", [[torch.zeros(2)], {1: torch.zeros(2)}, {("a",): torch.zeros(2)}])
def test_tensors_without_names_of_other_kinds(state, tmp_path):
    torch.save(state, tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no state_dict"):
        read(tmp_path / "list.pth")


def test_tensors_without_names(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no state_dict"):
        read(tmp_path / "list.pth")


def test_other_shapes_missing_and_unknown_names(state):
    del state["bn1.weight"], state["layer1.0.conv2.weight"]
    state["head.weight"] = torch.zeros(2)
    state["fc.bias"] = torch.zeros(6)
    state["conv1.weight"] = state["conv1.weight"].to(torch.int8)
    model = narrow()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        settle(model, state, "file.pth")
    assert str(error.value).splitlines() == [
        "file.pth does not fit ResNet:",
        "  missing: bn1.weight, layer1.0.conv2.weight",
        "  unknown: head.weight",
        "  other shapes: fc.bias is [6], the model's [5]",
        "  no fractions: conv1.weight",
    ]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()), "half of it has been loaded"


def test_another_network_altogether(tmp_path):
    save_file(nn.Linear(2, 2).state_dict(), tmp_path / "line.safetensors")
    with pytest.raises(
        CheckpointError, match=r"missing: conv1.weight, bn1.weight.* and \d+ more\n  unknown: bias, weight"
    ):
        resnet18(checkpoint=tmp_path / "line.safetensors")


def test_a_last_layer_that_is_no_matrix(tmp_path):
    save_file({"fc.weight": torch.tensor(1.0)}, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"other shapes: fc.weight is \[\], the model's \[1000, 512\]"):
        resnet18(checkpoint=tmp_path / "odd.safetensors")


def test_other_classes_than_those_of_the_checkpoint(tmp_path):
    save_file(resnet18(classes=7).state_dict(), tmp_path / "seven.safetensors")
    with pytest.raises(CheckpointError, match=r"fc.weight is \[7, 512\], the model's \[10, 512\]"):
        resnet18(checkpoint=tmp_path / "seven.safetensors", classes=10)
