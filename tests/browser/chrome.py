"""A headless Chromium over its DevTools protocol: open a page, ask it things, take pictures. Needs no driver."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome")


def browser() -> str | None:
    """The browser to use: BROWSER_PATH, or one on the PATH."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, NAMES)), None)


class Chrome:
    """One tab; `with Chrome(folder) as page:` closes the browser at the end. `folder` takes its profile."""

    def __init__(self, folder: Path, width: int = 1300, height: int = 1500, dark: bool = False):
        flags = [
            "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run",
            f"--window-size={width},{height}", "--hide-scrollbars", "--disable-gpu", "--disable-dev-shm-usage",
            # Containers give no namespaces to a browser's own sandbox; it opens one page of our own.
            "--no-sandbox", "--remote-allow-origins=*", *(["--force-dark-mode"] if dark else []),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [browser(), *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        file = folder / "DevToolsActivePort"
        wait_for(lambda: file.exists() and len(file.read_text().split()) == 2, 60, "the browser to start")
        port = file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(tab for tab in json.load(answer) if tab["type"] == "page")
        self._socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60)
        self._number = 0

    def call(self, method: str, **params) -> dict:
        """One DevTools command → its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, url: str):
        self.call("Page.navigate", url=url)

    def ask(self, script: str):
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", script))
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float):
        """Wait until the expression is true; its value."""
        return wait_for(lambda: self.ask(script), seconds, script)

    def picture(self, box: dict | None = None) -> bytes:
        """A PNG of the page, or of {x, y, width, height} in it."""
        clip = {"clip": {**box, "scale": 1}} if box else {}
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def wait_for(condition, seconds: float, what: str):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)
    return value
