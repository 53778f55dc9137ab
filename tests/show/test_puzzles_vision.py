"""The puzzles of notebook 10: networks that are right but dear, cheap but wrong, or both are told apart."""

import copy

import torch
from torch import nn
from verdicts import last, verdict

from mpckit.zoo import lenet

# a norm, folded


def folded(conv, norm, root=torch.sqrt, bias=None):
    factor = norm.weight / root(norm.running_var + norm.eps)
    own = 0 if conv.bias is None else conv.bias
    return conv.weight * factor.view(-1, 1, 1, 1), (own if bias is None else bias) * factor + (
        norm.bias - norm.running_mean * factor
    )


def test_a_folded_norm_is_praised_with_its_bill(capsys):
    def fold_norm(conv, norm):
        return folded(conv, norm)

    right, bill, end = verdict(capsys, fold_norm)
    assert right.startswith("✓ right    the same as the layer and its norm")
    assert bill.startswith("✓ bill     ") and end == "fold_norm is solved"
    rounds, sent, own_rounds, own_sent = (int(word) for word in bill.replace(",", "").split() if word.isdigit())
    assert rounds < own_rounds and sent < own_sent


def test_a_variance_without_its_root_is_noticed(capsys):
    def fold_norm(conv, norm):
        return folded(conv, norm, root=lambda v: v)

    assert last(capsys, fold_norm).startswith("✗ right    a layer with a bias: channel ")


def test_a_bias_that_is_forgotten_is_noticed(capsys):
    def fold_norm(conv, norm):
        return folded(conv, norm, bias=0)

    assert last(capsys, fold_norm).startswith("✗ right    a layer with a bias: channel ")


def test_a_layer_without_a_bias_comes_too(capsys):
    def fold_norm(conv, norm):
        return folded(conv, norm, bias=conv.bias * 1)

    assert "it raised TypeError" in last(capsys, fold_norm)


def test_numbers_that_are_none_are_not_close(capsys):
    def fold_norm(conv, norm):
        return conv.weight * float("nan"), norm.bias

    assert last(capsys, fold_norm).startswith("✗ right    a layer with a bias: channel 0 differs by nan")


def test_factors_along_the_wrong_axis_are_refused(capsys):
    def fold_norm(conv, norm):
        return conv.weight, torch.zeros(4, 1)

    assert "[4] are wanted, not [[4, 3, 3, 3], [4, 1]]" in last(capsys, fold_norm)


# pool first


def exchanged(model, kinds):
    layers = list(model)
    for k, (layer, after) in enumerate(zip(layers, layers[1:])):
        if isinstance(layer, nn.ReLU) and isinstance(after, kinds):
            layers[k], layers[k + 1] = after, layer
    return nn.Sequential(*layers)


def test_the_order_that_is_left_is_too_dear(capsys):
    def pool_first(model):
        return model

    assert last(capsys, pool_first).startswith("✗ bytes    maxima: 24031, before 24031; the reference has 16966")


def test_an_average_before_a_relu_is_another_network(capsys):
    def pool_first(model):
        return exchanged(model, (nn.MaxPool2d, nn.AvgPool2d))

    assert last(capsys, pool_first).startswith("✗ right    an average, too: logits differ by ")


def test_half_of_the_exchange_is_not_enough(capsys):
    def pool_first(model):
        layers = list(model)
        layers[4], layers[5] = layers[5], layers[4]
        return nn.Sequential(*layers)

    assert last(capsys, pool_first).startswith("✗ bytes    maxima: ")


def test_averages_for_maxima_are_cheap_and_wrong(capsys):
    def pool_first(model):
        return nn.Sequential(*(nn.AvgPool2d(2) if isinstance(m, nn.MaxPool2d) else m for m in model))

    assert last(capsys, pool_first).startswith("✗ right    maxima: logits differ by ")


def test_the_right_exchange_is_praised_and_the_readers_model_is_not_needed(capsys):
    def pool_first(model):
        out = exchanged(copy.deepcopy(model), nn.MaxPool2d)
        with torch.no_grad():
            model[0].weight.zero_()  # whatever becomes of the original
        return out

    assert verdict(capsys, pool_first)[-1] == "pool_first is solved"


# a budget


def test_maxima_are_too_dear(capsys):
    def cheaper(model):
        return model

    assert last(capsys, cheaper) == "✗ bytes    94072 for one digit; at most 60000 are allowed"


def test_the_wrong_pool_and_both_pools_read_too_little(capsys):
    def second():
        def cheaper(model):
            model.pool2 = nn.AvgPool2d(2)
            return model

        return cheaper

    def cheaper(model):
        return lenet(pretrained=True, pool="average")

    assert last(capsys, second()) == "✗ right    reads 970 of 1000 digits; at least 985 are wanted"
    assert last(capsys, cheaper) == "✗ right    reads 984 of 1000 digits; at least 985 are wanted"


def test_the_right_pool_is_praised(capsys):
    def cheaper(model):
        model.pool1 = nn.AvgPool2d(2)
        return model

    assert verdict(capsys, cheaper) == [
        "✓ right    reads 987 of 1000 digits; at least 985 are wanted",
        "✓ bytes    51112 for one digit; at most 60000 are allowed",
        "✓ secure   20 of 20 encrypted digits are read as in plaintext",
        "cheaper is solved",
    ]
