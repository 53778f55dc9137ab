"""Solutions to the puzzles of notebook 10. A test fills them in and runs the notebook."""

import torch
from torch import nn


def fold_norm(conv, norm):
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = 0 if conv.bias is None else conv.bias
    return conv.weight * factor.view(-1, 1, 1, 1), (bias - norm.running_mean) * factor + norm.bias


def pool_first(model):
    layers = list(model)
    for k in range(len(layers) - 1):
        if isinstance(layers[k], nn.ReLU) and isinstance(layers[k + 1], nn.MaxPool2d):
            layers[k], layers[k + 1] = layers[k + 1], layers[k]
    return nn.Sequential(*layers)


def cheaper(model):
    model.pool1 = nn.AvgPool2d(2)
    return model
