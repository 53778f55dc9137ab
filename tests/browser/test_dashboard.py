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
SHOTS = os.environ.get("MPCKIT_SCREENSHOTS")  # a folder to keep the pictures in, for people
# The dashboard's figure is the one with a curve; what it has drawn is read from the drawing itself, not from the data.
STATE = """(() => {
  const plots = [...document.querySelectorAll('.jp-OutputArea .js-plotly-plot')];
  const plot = plots.find(p => p.data && p.data.length == 8);
  if (!plot) return null;
  const box = plot.getBoundingClientRect(), line = plot.querySelectorAll('.scatterlayer .js-line');
  const status = [...document.querySelectorAll('.jp-OutputArea span[role=status]')].map(s => s.textContent)[0];
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
  return {box: {x: box.x, y: box.y, width: box.width, height: box.height}, status, busy: prompts[1].includes('*'),
          drawn: line.length ? line[0].getAttribute('d') : '', bars: plot.querySelectorAll('.barlayer path').length,
          layers: [...plot.querySelectorAll('.yaxislayer-above .ytick text')].map(t => t.textContent.trim()),
          sent: plot.data[4].y[plot.data[4].y.length - 1]};
})()"""

OPEN = """(async () => {
  await window.jupyterapp.restored;
  window.opened = await window.jupyterapp.commands.execute('docmanager:open', {path: 'notebook.ipynb'});
  await window.opened.context.ready;
  window.jupyterapp.shell.activateById(window.opened.id);
})()"""


@pytest.fixture
def lab(tmp_path, request):
    """JupyterLab on a folder with what the notebook's dashboard needs, in a theme; its address."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = [cells[0], next(cell for cell in cells if "mk.show.live(" in cell.source)]
    for cell in notebook.cells:
        cell.outputs = []
        cell.source = cell.source.replace("[:200].split(40)", "[:800].split(40)")  # long enough to take pictures of
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
    """Screenshots at three moments while the cell runs: each shows more than the one before."""
    url, theme = lab
    with Chrome(tmp_path / "profile", dark=theme == "dark") as page:
        page.open(url)
        page.wait("typeof window.jupyterapp == 'object'", 60)
        page.ask(OPEN)
        page.wait("window.opened.sessionContext?.session?.kernel?.status == 'idle'", 90)
        page.ask("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait(STATE, 120)
        page.ask("document.querySelector('.jp-OutputArea span[role=status]').scrollIntoView({block: 'start'})")
        moments = []

        def look():
            state = page.ask(STATE)
            if state and state["busy"] and state["sent"] > (moments[-1]["after"] if moments else 0):
                state["picture"] = page.picture(state["box"])
                state["after"] = page.ask(STATE)["sent"]  # it may have moved between the look and the picture
                moments.append(state)
            return len(moments) == 3

        wait_for(look, 120, "three moments of the run")
        last = page.wait(f"(s => !s?.busy && s)({STATE})", 120)
        last["picture"] = page.picture(last["box"])
        moments.append(last)
        whole = page.picture()
    if SHOTS:
        for k, moment in enumerate(moments):
            Path(SHOTS, f"dashboard_{theme}_{k}.png").write_bytes(moment["picture"])
        Path(SHOTS, f"lab_{theme}.png").write_bytes(whole)
    while_busy = moments[:3]
    assert len({m["drawn"] for m in while_busy}) == 3 and all(m["drawn"] for m in moments), "the curve was not redrawn"
    assert len({m["picture"] for m in while_busy}) == 3, "two moments look the same"
    assert last["sent"] >= while_busy[-1]["sent"]
    layers = "secret conv1 pool1 relu1 conv2 pool2 relu2 fc1 relu3 fc2 reveal".split()
    assert all(set(layers) <= set(m["layers"]) for m in (*while_busy[1:], last)), "the bars lost their names"
    assert last["bars"] >= 4 * 11 and last["status"].startswith("done: 760 rounds online")
