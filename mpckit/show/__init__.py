"""Plots of what a ledger says and of what parties see. They read reports and events; no layer below knows of them.

by_layer(report), summary(report), timeline(report), what_if(report)    figures of a bill
variants({name: report})                     … of several bills, layer by layer, on the same axes
confusion({name: answers}, encrypted)        which answers are the same, and what is taken for what
eyes(image, parties), pictures({title: image}, alt)                     what is seen of a secret
shares(x)            its pieces and their histograms, while the secret moves
view_as(party, of)   what one party received in a recorded run, and nothing else
sequence(of)         who said what to whom, and which line of the source said it
stepper(protocol, …) a conversation one word at a time
trees(keys, x)       the two trees of a point function, and a comparison read off them; explore(alpha, x) to click on
forms()              key bytes against rounds: three ways to deal one comparison
live(team)           a dashboard that moves while `team.run` is under way
hearing(team)        a transcript as it comes, and whether it keeps up; spectrogram(features, seconds)
link_sliders(report) seconds on any network, for several suites side by side
crossing(report)     which suite is faster on which network, predicted, and beside it what was measured
show(figure, alt)    display that survives in a saved notebook, on GitHub and as text
check(answer)        the notebooks' puzzles: right? private? at what price?
"""

from .confusion import confusion
from .crossing import Crossing, crossing
from .display import Picture, show
from .explore import explore
from .eyes import eyes, pictures
from .figures import by_layer, summary, timeline, what_if
from .forms import forms
from .link import LinkSliders, link_sliders
from .live import Live, live
from .pieces import shares
from .puzzle import check
from .received import View, view_as
from .sequence import sequence
from .sound import Hearing, hearing, spectrogram
from .stepper import Stepper, stepper
from .tree import trees
from .variants import variants

__all__ = [
    "Crossing", "Hearing", "LinkSliders", "Live", "Picture", "Stepper", "View", "by_layer", "check", "confusion",
    "crossing", "explore", "eyes", "forms", "hearing", "link_sliders", "live", "pictures", "sequence", "shares", "show",
    "spectrogram", "stepper", "summary", "timeline", "trees", "variants", "view_as", "what_if",
]  # fmt: skip
