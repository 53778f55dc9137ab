"""Notebook 00 in JupyterLab, in a browser: the dashboard moves while the engines work."""

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from chrome import Chrome, browser, wait_for

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_a_prediction_nobody_saw.ipynb"
ROOT = str(NOTEBOOK.parents[1])
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
LONGER = "[:200].split(40)", "[:200].split(10)"  # the same digits in twenty runs: time to take pictures of
SHOTS = os.environ.get("MPCKIT_SCREENSHOTS")  # a folder to keep the pictures in, for people
# Of the cell that shows the dashboard; what it has drawn is read from the drawing itself, not from the data.
STATE = """(() => {
  const cells = [...document.querySelectorAll('.jp-CodeCell')];
  const cell = cells.find(c => c.textContent.includes('mk.show.live('));
  const plot = [...cell?.querySelectorAll('.js-plotly-plot') ?? []].find(p => p.data && p.data.length == 8);
  if (!plot) return null;
  const box = plot.getBoundingClientRect(), line = plot.querySelectorAll('.scatterlayer .js-line');
  return {box: {x: box.x, y: box.y, width: box.width, height: box.height},
          status: cell.querySelector('span[role=status]').textContent,
          busy: cell.querySelector('.jp-InputPrompt').textContent.includes('*'),
          drawn: line.length ? line[0].getAttribute('d') : '', bars: plot.querySelectorAll('.barlayer path').length,
          layers: [...plot.querySelectorAll('.yaxislayer-above .ytick text')].map(t => t.textContent.trim()),
          sent: plot.data[4].y[plot.data[4].y.length - 1]};
})()"""

# [the numbers of the cells that have run, what still runs or waits, the errors shown]
ALL = """(() => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
  const wrong = [...document.querySelectorAll('[data-mime-type="application/vnd.jupyter.error"]')];
  return [prompts.map(p => parseInt(p.slice(1))).filter(n => n), prompts.filter(p => !/\\d/.test(p)).length,
          wrong.map(e => e.textContent)];
})()"""

# Of the same cell: [plots that are seen, plots that are hidden, of the first that is seen the layers' names].
SEEN = """(() => {
  const cells = [...document.querySelectorAll('.jp-CodeCell')];
  const plots = [...cells.find(c => c.textContent.includes('mk.show.live(')).querySelectorAll('.js-plotly-plot')];
  const seen = plots.filter(p => p.getBoundingClientRect().height > 0);
  const names = [...seen[0]?.querySelectorAll('.yaxislayer-above .ytick text') ?? []].map(t => t.textContent.trim());
  return [seen.length, plots.length - seen.length, names];
})()"""

OPEN = """(async () => {
  await window.jupyterapp.restored;
  window.opened = await window.jupyterapp.commands.execute('docmanager:open', {path: 'notebook.ipynb', KERNEL});
  await window.opened.context.ready;
  window.jupyterapp.shell.activateById(window.opened.id);
})()"""
RUN = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"
SAVE = "window.opened.context.save()"
CLOSE = "(async () => { await window.opened.sessionContext.shutdown(); await window.opened.close(); })()"


@pytest.fixture
def lab(tmp_path, request):
    """JupyterLab on a folder with the notebook, not run yet, in a theme; its address."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = cell.source.replace(*LONGER)
    work = tmp_path / "work"
    work.mkdir()
    nbformat.write(notebook, work / "notebook.ipynb")
    settings = tmp_path / "settings" / "@jupyterlab"
    for name, value in {
        "apputils-extension/themes": {"theme": THEMES[request.param]},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},  # what is not in sight is drawn all the same
    }.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
    token = secrets.token_hex(16)
    log = tmp_path / "log.txt"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={work}", "--expose-app-in-browser", "--allow-root", "--ip=127.0.0.1",
    ]  # fmt: skip
    env = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "spaces"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env, cwd=work)
    try:
        address = re.compile(r"http://127\.0\.0\.1:(\d+)/lab")
        found = wait_for(lambda: address.search(log.read_text()), 60, "JupyterLab to start")
        yield f"http://127.0.0.1:{found[1]}/lab?token={token}", request.param
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
@pytest.mark.skipif(browser() is None, reason="no Chromium, so nobody has seen the dashboard move: install chromium")
@pytest.mark.parametrize("lab", ["light", "dark"], indirect=True)
def test_the_dashboard_moves_while_the_engines_work(lab, tmp_path):
    """The whole notebook; screenshots at three moments while the dashboard's cell runs: each shows more than before."""
    url, theme = lab
    with Chrome(tmp_path / "profile", dark=theme == "dark") as page:
        page.open(url)
        page.wait("typeof window.jupyterapp == 'object'", 60)
        page.ask(OPEN.replace("KERNEL", ""))
        page.wait("window.opened.sessionContext?.session?.kernel?.status == 'idle'", 90)
        page.ask(RUN)
        page.wait(f"({STATE})?.busy", 300)
        page.ask("document.querySelector('.jp-OutputArea span[role=status]').scrollIntoView({block: 'start'})")
        moments = []

        def look():
            state = page.ask(STATE)
            assert not state or state["busy"] or len(moments) == 3, f"the cell was over after {len(moments)} moments"
            if state and state["sent"] > (moments[-1]["after"] if moments else 0):
                state["picture"] = page.picture(state["box"])
                state["after"] = page.ask(STATE)["sent"]  # it may have moved between the look and the picture
                moments.append(state)
            return len(moments) == 3

        wait_for(look, 300, "three moments of the run")
        last = page.wait(f"(s => !s?.busy && s)({STATE})", 300)
        last["picture"] = page.picture(last["box"])
        moments.append(last)
        whole = page.picture()
        page.wait(f"({ALL})[1] == 0 || ({ALL})[2].length", 300)
        numbers, _, wrong = page.ask(ALL)
        alive = page.ask(SEEN)
        page.ask(SAVE)
        page.ask(CLOSE)
        page.open(url + "&reset")  # later, in another page, where no kernel is started
        page.wait("typeof window.jupyterapp == 'object' && !window.opened", 60)
        page.ask(OPEN.replace("KERNEL", "kernelPreference: {shouldStart: false, autoStartDefault: false}"))
        still = page.wait(f"(s => s[0] && s[2].length && s)({SEEN})", 60)
        without_kernel = page.picture()
    if SHOTS:
        for k, moment in enumerate(moments):
            Path(SHOTS, f"dashboard_{theme}_{k}.png").write_bytes(moment["picture"])
        Path(SHOTS, f"lab_{theme}.png").write_bytes(whole)
        Path(SHOTS, f"without_kernel_{theme}.png").write_bytes(without_kernel)
    while_busy = moments[:3]
    assert len({m["drawn"] for m in while_busy}) == 3 and all(m["drawn"] for m in moments), "the curve was not redrawn"
    assert len({m["picture"] for m in while_busy}) == 3, "two moments look the same"
    assert last["sent"] >= while_busy[-1]["sent"]
    layers = "secret conv1 pool1 relu1 conv2 pool2 relu2 fc1 relu3 fc2 reveal".split()
    assert all(set(layers) <= set(m["layers"]) for m in (*while_busy[1:], last)), "the bars lost their names"
    assert alive[:2] == [2, 1], "the dashboard and what-if are seen; the still twin waits behind them"
    assert still[:2] == [1, 0] and set(layers) <= set(still[2]), "without a kernel the twin is seen"
    committed = nbformat.read(NOTEBOOK, as_version=4)
    rounds = 4 * rounds_of(committed)  # in twenty runs, of which the committed notebook has five
    assert last["bars"] >= 4 * 11 and last["status"].startswith(f"done: {rounds} rounds online")
    assert wrong == [] and numbers == list(range(1, len(numbers) + 1)), "all cells ran, in order"
    saved = nbformat.read(tmp_path / "work" / "notebook.ipynb", as_version=4)
    assert rounds_of(saved) == rounds
    assert_same_results(saved, committed)


def printed(cell) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def rounds_of(notebook) -> int:
    """The rounds of all runs that the dashboard heard."""
    (cell,) = [cell for cell in notebook.cells if "{live.rounds} rounds" in cell.source]
    return int(re.search(r"^(\d+) rounds; sent by", printed(cell), re.M)[1])


def assert_same_results(saved, committed):
    """What was printed is what the committed notebook says, but for times."""
    pairs = [pair for pair in zip(saved.cells, committed.cells, strict=True) if pair[0].cell_type == "code"]
    for ours, theirs in pairs:
        if "nbval-ignore-output" not in theirs.metadata.get("tags", []):
            said, expected = printed(ours), printed(theirs)
            if "{live.rounds} rounds" in theirs.source:  # all but the line with the bytes of twenty runs
                said, expected = (re.sub(r"(?m)^\d+ rounds; .*", "", text) for text in (said, expected))
            assert said == expected


def test_the_page_shows_the_final_picture(tmp_path):
    """`nbconvert --to html` of the notebook: the dashboard as it ended is a picture, with what it shows in words."""
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", str(tmp_path), str(NOTEBOOK)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    page = (tmp_path / f"{NOTEBOOK.stem}.html").read_text(encoding="utf-8")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (cell,) = [cell for cell in notebook.cells if "mk.show.live(" in cell.source]
    (shown,) = [output.data for output in cell.outputs if "image/png" in output.get("data", {})]
    assert f"done: {rounds_of(notebook)} rounds online" in shown["text/plain"]
    assert re.sub(r"\s", "", shown["image/png"]) in page, "the last picture is on the page"
    assert "Error displaying widget" not in page and "application/vnd.jupyter.widget-view" not in page


def test_the_page_has_words_for_every_picture(tmp_path):
    """nbconvert's usual template leaves them out; its plain one, `--template classic`, does not."""
    command = [
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "html",
        "--template",
        "classic",
        "--output-dir",
        str(tmp_path),
    ]
    subprocess.run([*command, str(NOTEBOOK)], check=True, capture_output=True, timeout=120)
    page = (tmp_path / f"{NOTEBOOK.stem}.html").read_text(encoding="utf-8")
    words = re.findall(r'<img [^>]*alt="([^"]*)"', page)
    assert len(words) == page.count("<img ") >= 6 and all(len(alt) > 40 for alt in words)
    assert sum(alt.startswith("Dashboard; done: ") for alt in words) == 1
    assert not any(alt.startswith("No description") for alt in words)
