"""A message-sequence chart of a real conversation: who said what to whom, and which `yield` said it."""

import plotly.graph_objects as go

from ..runtime.report import Report
from ..runtime.transcript import Said, Transcript
from ..runtime.units import size
from .display import Picture
from .source import source_line
from .theme import COLOURS, FAINT, GREY, style
from .values import words as in_words

ROW = 46  # pixels
LONGEST = 40  # words in one chart
WIDEST = 70  # characters of source


def transcript_of(of) -> Transcript:
    """The transcript of a session, a report or a stepper, or `of` itself. Raises ValueError where none was recorded."""
    found = of if isinstance(of, Transcript) else getattr(of, "transcript", None)
    if found is None:
        how = "team.run(…, record=True)" if isinstance(of, Report) else "mpckit.simulate(record=True)"
        raise ValueError(f"nothing was recorded: run it with {how}, and pass its report or session")
    return found


def sequence(of, path: str | None = None, words: int = LONGEST) -> Picture:
    """Chart of what was said: arrows for messages, the source's line beside each word, what was opened on the pointer.

    `of`: a session with `record=True`, the report of one, or a transcript; `path`: only words below this layer.
    """
    transcript = transcript_of(of)
    chosen = [said for said in transcript.words if path is None or f"{said.path}/".startswith(f"{path}/")]
    if not transcript.words:
        raise ValueError("nothing was said yet, no words at all: run a program in this session, and look again")
    if not chosen:
        known = ", ".join(dict.fromkeys(said.path or "(program)" for said in transcript.words))
        raise ValueError(f"nothing was said in {path!r}; there are {known}")
    return chart(chosen[:words], len(chosen))


def chart(words: list[Said], count: int) -> Picture:
    """The figure of `words`, the first of `count`."""
    parties = 1 + max((party for said in words for party in (*said.answers, *sum(said.shapes, ()))), default=1)
    figure, names = go.Figure(), ["dealer", *(f"party {p}" for p in range(parties))]
    end = len(words) + 0.4
    for x, name in enumerate(names):
        figure.add_shape(type="line", x0=x, x1=x, y0=0.3, y1=end, line=dict(color=FAINT, width=2))
        figure.add_annotation(x=x, y=0, text=f"<b>{name}</b>", showarrow=False, font=dict(color=GREY, size=13))
    for row, said in enumerate(words, 1):
        _arrows(figure, said, row, parties)
    figure.add_scatter(
        x=[len(names) - 0.72] * len(words), y=list(range(1, len(words) + 1)), mode="text", textposition="middle right",
        text=[_beside(said) for said in words], hovertext=[_hover(said) for said in words], hoverinfo="text",
        showlegend=False, textfont=dict(size=12, color=GREY), cliponaxis=False,
    )  # fmt: skip
    more = f"… and {count - len(words)} more words" if count > len(words) else ""
    figure.add_annotation(x=0, y=end + 0.3, text=more, showarrow=False, xanchor="left", font=dict(color=GREY, size=12))
    style(figure, height=70 + ROW * (len(words) + 1), margin=dict(l=10, r=10, t=10, b=10), showlegend=False)
    figure.update_xaxes(visible=False, range=[-0.5, len(names) + 2.6], fixedrange=True)
    figure.update_yaxes(visible=False, range=[end + 0.6, -0.5], fixedrange=True)
    said = "; ".join(f"{k} {_told(said)}" for k, said in enumerate(words, 1))
    return Picture(figure, f"Message sequence of {parties} parties: {said}{'; ' + more if more else ''}.")


def _arrows(figure, said, row, parties):
    if said.word == "Draw":
        pairs = [(0, 1 + party, "dot") for party in said.answers]
    else:
        sent = {(s, r) for s, r, data in said.messages if data}
        pairs = [(1 + s, 1 + r, "solid") for s, r in sorted(sent)]
    for k, (start, stop, dash) in enumerate(pairs):
        # Both directions of one round go at the same time, a little apart so that both can be seen.
        y = row + (0.26 * (k - (len(pairs) - 1) / 2) / max(1, len(pairs) - 1) if said.word != "Draw" else 0.0)
        colour = COLOURS[4] if said.word == "Draw" else COLOURS[(start - 1) % len(COLOURS)]
        figure.add_shape(type="line", x0=start, x1=stop, y0=y, y1=y, line=dict(color=colour, width=2, dash=dash))
        figure.add_scatter(
            x=[stop], y=[y], mode="markers", hoverinfo="skip", showlegend=False,
            marker=dict(symbol="triangle-right" if stop > start else "triangle-left", size=11, color=colour),
        )  # fmt: skip


def _beside(said):
    code = source_line(said.places[0])[:WIDEST] if said.places else ""
    for plain, html in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        code = code.replace(plain, html)
    also = f" and {len(said.places) - 1} more" if len(said.places) > 1 else ""
    return f"<b>{short(said)}</b> {_size(said)}<br><i>{code}</i>{also}"


def short(said: Said) -> str:
    """What was said, without its parameters: "Draw Triple", "Open(ring[2, 2])", "Send"."""
    if said.word == "Draw":
        return f"Draw {said.text.removeprefix('Draw(').partition('(')[0]}"
    return said.text if "Send" not in said.word and len(said.text) < 60 else said.word


def _size(said):
    sent = {}
    for sender, _, data in said.messages:
        sent[sender] = sent.get(sender, 0) + len(data)
    return size(max(sent.values())) if sent else ""


def _told(said):
    where = f" in {said.places[0].protocol}" if said.places else ""
    return f"{short(said)}{where}" + (f", {_size(said)} from a party" if _size(said) else "")


def _hover(said):
    lines = [f"<b>{said.path or '(program)'}</b>, after {said.step} rounds"]
    lines += [f"{place}" for place in said.places]
    return "<br>".join(lines + [line[:110] for line in heard(said)])


def heard(said: Said, shown: int = 6, bits: int = 64) -> list[str]:
    """What the yields were answered, a line for each party; one line where all learnt the same."""
    if not said.answers:
        return []
    lines = {party: in_words(answer, shown, bits) for party, answer in said.answers.items()}
    if len(set(lines.values())) == 1:
        return [f"all: {next(iter(lines.values()))}"]
    return [f"party {party}: {line}" for party, line in lines.items()]
