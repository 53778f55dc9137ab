"""`mpckit demo`: real handwritten digits, classified while encrypted by parties in processes of their own.

It prints the bill and writes a page of plots.
"""

import html
import time
from pathlib import Path

import torch

from .nn import private
from .runtime.meter import LAN, WAN
from .runtime.report import duration, size
from .tensor import secret


def classify(images, model):
    """What every party runs: party 1 brings the model, party 0 the pictures, and only party 0 learns the logits."""
    model, images = private(model, owner=1), secret(images, owner=0)
    return model(images).reveal(to=0)


def main(digits: int = 20, parties: int = 2, page: str = "demo.html") -> int:
    """Run it, print the table, write the page. Returns the exit status: 0 if all predictions agree with plaintext.

    Raises SystemExit for digits that the kit does not bring, for less than two parties, for a page without a folder.
    """
    # Jupyter's machinery, and what only a demo needs, are imported when it runs: the core does without.
    from .engines.ownership import only
    from .engines.team import cluster
    from .zoo import digits as load_digits
    from .zoo import lenet

    torch.set_num_threads(1)
    data, model = load_digits(), lenet(pretrained=True)
    if not 1 <= digits <= len(data):
        raise SystemExit(f"--digits takes 1 to {len(data)}, not {digits}")
    if parties < 2:
        raise SystemExit(f"--parties takes 2 or more, not {parties}")
    if not (folder := Path(page).parent).is_dir():
        raise SystemExit(f"--html {page}: there is no folder {folder}")
    images, labels = data.images[:digits], data.labels[:digits]
    with torch.no_grad():
        plain = model(images)

    print(f"Party 0 has {digits} pictures, party 1 a LeNet. Starting {parties} engines and a dealer …", flush=True)
    start = time.perf_counter()
    with cluster(parties=parties) as team:
        print(f"… ready after {duration(time.perf_counter() - start)}. Planning, dealing, and classifying.", flush=True)
        (logits, *others), report = team.run(classify, only(0, images), only(1, model))
    if not all(other.is_meta for other in others):
        raise RuntimeError("a party other than 0 learnt the logits; this is a fault of mpckit, please report it")

    encrypted, expected = logits.argmax(-1), plain.argmax(-1)
    print("\n digit  plaintext  encrypted  largest logit error")
    for label, p, e, error in zip(
        labels.tolist(), expected.tolist(), encrypted.tolist(), (logits - plain).abs().amax(-1).tolist()
    ):
        print(f"{label:6d}{p:11d}{e:11d}{error:21.6f}{'' if p == e else '   differs'}")
    agree = int((encrypted == expected).sum())
    print(
        f"\n{agree} of {digits} predictions agree with plaintext, {int((encrypted == labels).sum())} with the label.\n"
    )
    bill = [
        ("rounds", f"{report.rounds()}"),
        ("sent by a party", f"{size(report.sent())} ({size(report.sent() / digits)} a digit)"),
        ("offline, from the dealer", size(report.offline_bytes)),
        ("set-up, once per model", f"{size(report.sent('setup'))}, {report.rounds('setup')} rounds"),
        ("seconds here, online", duration(report.wall["online"])),
        (f"on {LAN.name} ({LAN.rtt * 1e3:g} ms)", duration(report.seconds(LAN))),
        (f"on {WAN.name} ({WAN.rtt * 1e3:g} ms)", duration(report.seconds(WAN))),
    ]
    width = max(len(name) for name, _ in bill)
    for name, value in bill:
        print(f"{name:>{width}}  {value}")
    write_page(page, images, labels, expected, encrypted, bill, report)
    print(f"\nPlots: {page}")
    return 0 if agree == digits else 1


def write_page(path, images, labels, expected, encrypted, bill, report) -> None:
    """One file that needs no network: the digits, the bill, and the plots with plotly's code inside."""
    from .show import by_layer, eyes, timeline, what_if

    gallery = "".join(
        f"<figure><img alt='a handwritten {label}' src='data:image/svg+xml;utf8,{_svg(image)}'>"
        f"<figcaption>plain {p}, encrypted {e}</figcaption></figure>"
        for image, label, p, e in zip(images, labels.tolist(), expected.tolist(), encrypted.tolist())
    )
    rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in bill)
    plots = {
        "Who are you? One digit as each party sees it": eyes(images[0, 0], report.parties),
        "What each layer sends": by_layer(report),
        "Where the time goes on a LAN": timeline(report, LAN),
        "… and on a WAN": timeline(report, WAN),
        "What if the network were another": what_if(report),
    }
    parts = [
        f"<h2>{title}</h2>" + figure.to_html(full_html=False, include_plotlyjs=k == 0, config={"displayModeBar": False})
        for k, (title, figure) in enumerate(plots.items())
    ]
    Path(path).write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>mpckit demo</title><style>"
        "body{font:16px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color-scheme:light dark}"
        "figure{display:inline-block;margin:.4em;text-align:center;font-size:12px}img{width:84px;height:84px;background:#000}"
        "th{text-align:left;font-weight:normal;padding-right:2em}h2{font-size:1.1em;margin-top:2em}</style>"
        f"<h1>{len(labels)} digits, read by nobody</h1><p>Party 0 owns the pictures, party 1 the LeNet;"
        f" {report.parties} processes computed on shares, and party 0 alone learnt the result."
        " A dealer that saw no input prepared the randomness.</p>"
        f"{gallery}<table>{rows}</table>{''.join(parts)}</html>",
        encoding="utf-8",
    )


def _svg(image) -> str:
    """A digit [1, 28, 28] as an SVG of grey squares, small enough to stand inside the page."""
    cells = "".join(
        f"<rect x='{x}' y='{y}' width='1' height='1' fill-opacity='{v:.1f}'/>"
        for y, line in enumerate(image[0].tolist())
        for x, v in enumerate(line)
        if v > 0.05
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 28 28' fill='white'>{cells}</svg>"
    return svg.replace("<", "%3C").replace(">", "%3E").replace("#", "%23").replace("'", "%27").replace(" ", "%20")
