"""A report and a difference of two as text and as HTML. The HTML has its plots inside, as SVG: no library, no network.

Both are made from the same rows, so a terminal and a notebook cannot disagree.
"""

from html import escape
from typing import NamedTuple

from .meter import LAN, WAN
from .report import Diff, Line, Report
from .units import duration, size

# Okabe and Ito's: also for the colour-blind
COLOURS = {"compute": "#0072B2", "software": "#CC79A7", "latency": "#E69F00", "bytes": "#009E73"}
# colour alone tells nothing apart
PATTERNS = {"compute": "", "software": "M0 0L6 6", "latency": "M0 6L6 0", "bytes": "M3 3h.01"}
BAR = 240  # pixels
HIDDEN = 1e-4  # seconds of compute below which a line without rounds is not listed


class Row(NamedTuple):
    """A line of the table; `line` is what its bar shows (None: no bar)."""

    name: str
    indent: int
    cells: tuple[str, ...]
    line: Line | None


def heading(report: Report) -> str:
    return f"{report.parties} parties · suite {report.suite} · {report.truncation} truncation · per party and its peers"


def columns(report: Report) -> tuple[str, ...]:
    waiting = ("waiting",) if _waited(report) else ()
    return "calls", "rounds", "sent", "compute", *waiting, *(link.name for link in _links(report))


def rows(report: Report) -> list[Row]:
    """Set-up, offline and online, each with its lines below it."""
    out = [] if not _lines(report, "setup") else _phase(report, "setup")
    dealt = ["", "", size(report.offline_bytes), duration(report.offline_seconds)]
    out.append(Row("offline", 0, (*dealt, *[""] * (len(columns(report)) - len(dealt))), None))
    return out + (_phase(report, "online") if _lines(report, "online") else [])


def suites(report: Report) -> list[tuple[str, ...]]:
    """A table with a line for each suite that was planned, or for the one in use."""
    head = "suite", "truncation", "rounds", "sent", "keys", "dealt", f"wire on {report.link.name}"
    return [head] + [
        (
            f"{o.suite} *" if o.suite == report.suite and len(report.offers) > 1 else o.suite, o.truncation,
            str(o.rounds), size(o.sent), size(o.key_bytes), size(o.offline_bytes), duration(o.seconds(report.link)),
        )
        for o in report.offers
    ]  # fmt: skip


def notes(report: Report) -> list[str]:
    """What must be said below the table."""
    out = [f"suite {report.suite}: {report.why}"] if report.why else []
    if report.unplanned:
        kinds = ", ".join(f"{n} × {kind}" for kind, n in report.unplanned.items())
        out.append(f"drawn outside the plan, dealt on demand: {kinds}")
    if report.exchange:
        out.append(f"software of an exchange: {duration(report.exchange)} a round, measured here")
    if report.insecure:
        out.append("INSECURE: all parties share one seed (insecure_seed); for tests and transcripts only")
    return out


def _lines(report, phase):
    return [line for line in report.lines if line.phase == phase]


def _phase(report, phase):
    listed = [line for line in _lines(report, phase) if line.rounds or line.compute > HIDDEN]
    whole = report.total(phase)
    return [Row(phase, 0, ("", *_cells(report, whole)[1:]), whole)] + [
        Row(line.path, 1, _cells(report, line), line) for line in listed
    ]


def _cells(report, line):
    waiting = (duration(line.waiting),) if _waited(report) else ()
    times = (duration(link.seconds(*line.cost, report.exchange)) for link in _links(report))
    return str(line.calls), str(line.rounds), size(line.sent), duration(line.compute), *waiting, *times


def _waited(report):
    return any(line.waiting for line in report.lines)


def _links(report):
    return tuple(dict.fromkeys((report.link, LAN, WAN)))


# text


def report_text(report: Report) -> str:
    table = [("phase / layer / operator", *columns(report))]
    table += [("  " * row.indent + row.name, *row.cells) for row in rows(report)]
    return "\n".join([heading(report), *aligned(table), *aligned(suites(report)), *notes(report)])


def aligned(table: list[tuple[str, ...]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table)]
    return [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
        for row in table
    ]


# HTML


def report_html(report: Report) -> str:
    """The table, and beside each line a bar: where its seconds go on the report's own link."""
    longest = max((sum(_seconds(report, row.line).values()) for row in rows(report) if row.line), default=0.0)
    head = [*columns(report), f"{_key(report)} on {escape(report.link.name)}"]
    body = [(row, _bar(report, row.line, longest) if row.line else "") for row in rows(report)]
    said = "".join(f"<p><strong>{escape(note)}</strong></p>" for note in notes(report))
    (first, *names), *lines = suites(report)
    offered = _table("", first, [*names, ""], [(Row(o[0], 0, o[1:], None), "") for o in lines])
    return _table(heading(report), "phase / layer / operator", head, body) + offered + said


def _table(caption, first, head, body):
    cell = "padding:1px 8px;text-align:right;white-space:nowrap"
    top = "".join(f"<th scope='col' style='{cell}'>{text}</th>" for text in head)
    lines = []
    for row, bar in body:
        weight = "normal" if row.indent else "bold"
        name = f"<th scope='row' style='text-align:left;font-weight:{weight};padding-left:{row.indent + 0.3}em'>"
        cells = "".join(f"<td style='{cell};font-weight:{weight}'>{escape(text)}</td>" for text in row.cells)
        lines.append(f"<tr>{name}{escape(row.name)}</th>{cells}<td style='text-align:left'>{bar}</td></tr>")
    return (
        f"<table style='font-size:90%;border-collapse:collapse'><caption style='text-align:left'>{escape(caption)}"
        f"</caption><thead><tr><th scope='col' style='text-align:left'>{first}</th>{top}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _seconds(report, line):
    link = report.link
    seconds = {
        "compute": line.compute,
        "software": line.rounds * report.exchange,
        "latency": link.seconds(line.rounds, 0),
        "bytes": link.seconds(0, line.sent),
    }
    return {kind: seconds[kind] for kind in _kinds(report)}


def _kinds(report):
    return [kind for kind in COLOURS if kind != "software" or report.exchange]


def _bar(report, line, longest):
    parts, at, drawn = _seconds(report, line), 0.0, []
    for kind, seconds in parts.items():
        width = BAR * seconds / longest if longest else 0.0
        drawn += [
            f"<rect x='{at:.1f}' width='{width:.1f}' height='12' fill='{fill}'/>"
            for fill in (COLOURS[kind], f"url(#mpckit-{kind})")
        ]
        at += width
    words = ", ".join(f"{kind} {duration(seconds)}" for kind, seconds in parts.items())
    return (
        f"<svg role='img' aria-label='{words}' width='{BAR}' height='12'><title>{words}</title>"
        f"{_patterns(parts)}{''.join(drawn)}</svg>"
    )


def _key(report):
    squares = (
        f"<svg aria-hidden='true' width='11' height='11'>{_patterns([kind])}"
        f"<rect width='11' height='11' fill='{COLOURS[kind]}'/>"
        f"<rect width='11' height='11' fill='url(#mpckit-{kind})'/></svg> {kind}"
        for kind in _kinds(report)
    )
    return " ".join(squares)


def _patterns(kinds):
    # In every picture again: a reference into another picture is lost when that one is folded away.
    marks = "".join(
        f"<pattern id='mpckit-{kind}' width='6' height='6' patternUnits='userSpaceOnUse'>"
        f"<path d='{path}' stroke='white' stroke-width='1.5' stroke-linecap='round'/></pattern>"
        for kind, path in ((kind, PATTERNS[kind]) for kind in kinds)
    )
    return f"<defs>{marks}</defs>"


def page(title: str, body: str) -> str:
    """A document of its own, as light or dark as the reader's system."""
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width'><style>:root{color-scheme:light dark}"
        "body{font:15px/1.5 system-ui,sans-serif;margin:2em;overflow-x:auto}caption{margin-bottom:.6em}"
        f"tbody tr:hover{{background:rgba(136,136,136,.15)}}</style><h1>{escape(title)}</h1>{body}</html>\n"
    )


# a difference


def diff_rows(diff: Diff) -> list[Row]:
    """Each phase and, below it, the layers that differ."""
    out = []
    for phase in ("setup", "online"):
        pairs = diff.rows(phase)
        if pairs:
            out.append(Row(phase, 0, _change(diff, diff.before.total(phase), diff.after.total(phase)), None))
            out += [Row(a.path, 1, _change(diff, a, b), None) for a, b in pairs if _exact(a) != _exact(b)]
        if phase == "setup":
            a, b = diff.before, diff.after
            cells = _step(a.offline_bytes, b.offline_bytes, size), _step(a.offline_seconds, b.offline_seconds, duration)
            out.append(Row("offline", 0, ("", *cells, ""), None))
    return out


def _exact(line):
    return line.rounds, line.by_party


def _change(diff, a, b):
    link = diff.before.link
    on = [link.seconds(*line.cost, report.exchange) for line, report in ((a, diff.before), (b, diff.after))]
    return (
        _step(a.rounds, b.rounds, str), _step(a.sent, b.sent, size), _step(a.compute, b.compute, duration),
        _step(*on, duration),
    )  # fmt: skip


def _step(a, b, words):
    """ "38 → 6 (-84 %)"; one value where nothing changes."""
    if a == b:
        return words(a)
    return f"{words(a)} → {words(b)}" + (f" ({(b - a) / a:+.0%})".replace("%", " %") if a else "")


def _diff_columns(diff):
    return "rounds", "sent", "compute", f"on {diff.before.link.name}"


def _diff_heading(diff):
    a, b = ((r.parties, r.suite, r.truncation) for r in (diff.before, diff.after))
    what = [f"{x} {unit}" if x == y else f"{x} → {y} {unit}" for x, y, unit in zip(a, b, UNITS)]
    return " · ".join(what) + ("" if not diff.same else " · the same rounds and bytes everywhere")


UNITS = ("parties", "suite", "truncation")


def diff_text(diff: Diff) -> str:
    table = [("phase / layer", *_diff_columns(diff))]
    table += [("  " * row.indent + row.name, *row.cells) for row in diff_rows(diff)]
    return "\n".join([_diff_heading(diff), *aligned(table)])


def diff_html(diff: Diff) -> str:
    body = [(row, "") for row in diff_rows(diff)]
    return _table(_diff_heading(diff), "phase / layer", [escape(c) for c in _diff_columns(diff)], body)
