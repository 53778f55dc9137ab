"""Several bills on the same axes, and answers against answers: what is drawn is what was counted."""

import pytest
import torch
from torch import nn

import mpckit as mk
from mpckit.show import confusion, pictures, variants
from mpckit.show.confusion import matrix
from mpckit.zoo import digits, lenet


@pytest.fixture(scope="module")
def reports():
    """A reader of digits with maxima, with averages, and without its last ReLU."""

    def infer(image, model):
        return mk.private(model, owner=1)(mk.secret(image, owner=0)).reveal(to=0)

    plain, average = lenet(pretrained=True), lenet(pretrained=True, pool="average")
    short = nn.Sequential(*(layer for name, layer in plain.named_children() if name != "relu3"))
    networks = {"max": plain, "average": average, "short": short}
    return {name: mk.plan(infer, digits()[7][0][None], model).report for name, model in networks.items()}


def test_each_button_shows_one_bill(reports):
    """Press every button and add up the bars that are then to be seen."""
    some = {name: reports[name] for name in ("max", "average")}
    figure = variants(some)
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == list(some)
    for button, report in zip(menu.buttons, some.values()):
        shown = [trace for trace, seen in zip(figure.data, button.args[0]["visible"]) if seen]
        assert sum(shown[1].x) == report.rounds()
        assert f"{report.rounds()} rounds" in button.args[1]["title.text"]
        for trace, what in zip(shown, ("sent", "rounds")):
            assert dict(zip(trace.y, trace.x)) == {p: getattr(v, what) for p, v in report.by_layer().items()}


def test_what_a_version_lacks_is_an_empty_bar_in_its_place(reports):
    figure = variants({"short": reports["short"], "max": reports["max"]})
    named = {trace.name: dict(zip(trace.y, trace.x)) for trace in figure.data[::2]}
    assert "pool1" in named["short"] and named["short"]["pool1"] == 0 < named["max"]["pool1"]
    assert all(trace.y == figure.data[0].y for trace in figure.data)


def test_layers_of_versions_keep_their_order(reports):
    order = list(reports["max"].by_layer())
    figure = variants({"average": reports["average"], "max": reports["max"]})
    assert list(figure.data[0].y) == order


def test_the_still_picture_has_all_versions_and_the_words_their_sums(reports):
    some = {name: reports[name] for name in ("max", "average")}
    figure = variants(some)
    assert [trace.x for trace in figure._still.data] == [trace.x for trace in figure.data]
    assert [trace.showlegend for trace in figure._still.data[:2]] == [None, False]
    assert "max: 35 rounds, 94.1 kB sent by a party; average: 19 rounds" in figure.alt
    assert figure.alt.endswith("Layers that differ: pool1, pool2.")


def test_blocks_can_be_drawn_as_one(reports):
    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            layers = list(lenet(pretrained=True))
            self.first, self.second = nn.Sequential(*layers[:6]), nn.Sequential(*layers[6:])

        def forward(self, x):
            return self.second(self.first(x))

    def infer(image, model):
        return mk.private(model, owner=1)(mk.secret(image, owner=0)).reveal(to=0)

    report = mk.plan(infer, digits()[7][0][None], Blocks()).report
    assert list(report.by_layer(depth=1)) == ["secret", "first", "second", "reveal"]
    assert [line.rounds for line in report.by_layer(depth=1).values()] == [1, 26, 7, 1]
    assert report.sent() == reports["max"].sent()
    assert list(variants({"blocks": report}, depth=1).data[0].y) == list(report.by_layer(depth=1))
    assert list(mk.show.by_layer(report, depth=1).data[0].y) == list(report.by_layer(depth=1))
    assert len(mk.show.by_layer(report).data[0].y) > 10


# answers against answers


def test_a_matrix_counts_rows_against_columns():
    counts = matrix(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    with pytest.raises(ValueError, match="3 answers against 4"):
        matrix(torch.zeros(3, dtype=torch.int64), torch.zeros(4, dtype=torch.int64), 2)


def test_the_cells_and_the_words_say_the_counts():
    answers = torch.tensor([0, 1, 2, 2, 1])
    figure = confusion({"plain": answers, "meant": torch.tensor([0, 1, 2, 1, 1])}, answers, names=("a", "b", "c"))
    same, other = (torch.tensor([[int(n or 0) for n in row] for row in trace.text]) for trace in figure.data)
    assert same.tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert other.tolist() == [[1, 0, 0], [0, 2, 1], [0, 0, 1]]
    assert figure.alt == (
        "Confusion matrices. plain against encrypted: 5 of 5 the same. meant against encrypted: 4 of 5 the same; b → c."
    )
    colour = torch.tensor(figure.data[1].z)
    assert colour[1, 2] < 0 < colour[1, 1], "agreement and disagreement have colours of their own"
    assert colour[0, 1] == 0, "what never happens has none"


def test_many_mistakes_are_counted_and_the_commonest_come_first():
    rows = torch.arange(10).repeat(3)
    columns = (rows + 1) % 10
    columns[rows == 9] = 9
    columns[0] = 5
    alt = confusion({"meant": rows}, columns).alt
    assert "3 of 30 the same; 1 → 2 (3 times); 2 → 3 (3 times)" in alt and alt.endswith("; and 9 more.")


# pictures in colours


def test_a_picture_in_colours_keeps_them():
    picture = torch.zeros(2, 3, 3)
    picture[0, :, 0], picture[1, :, 2] = 1.0, 0.5
    figure = pictures({"red above blue": picture, "grey": torch.eye(2)}, alt="red above blue, and a diagonal")
    assert figure.data[0].type == "image" and figure.data[1].type == "heatmap"
    assert figure.data[0].z[0][0].tolist() == [255, 0, 0] and figure.data[0].z[1][2].tolist() == [0, 0, 128]
