"""The server of the page in a thread, and a browser to look at it with."""

import asyncio
import functools
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soxr
from aiohttp import web

from kws.corpus.espeak import Espeak
from kws.view.__main__ import listen
from kws.view.server import Served, application

VOICE = "gmw/en+Alex"
RATE = 16_000


@contextmanager
def running(served: Served):
    """The server in a thread of its own."""
    with in_a_thread(application(served)) as port:
        served.port = port
        yield served


@contextmanager
def in_a_thread(app: web.Application):
    """An application on the loopback; its port."""
    loop, listening = asyncio.new_event_loop(), listen(0)

    async def start():
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@functools.cache
def speech(words: tuple[str, ...], pause: float = 0.5) -> np.ndarray:
    """Words spoken by espeak-ng in a little noise, int16 (S,) at 16 kHz."""
    random, pieces = np.random.default_rng(0), [np.zeros(round(pause * RATE))]
    with Espeak() as espeak:
        for word in words:
            said = espeak.speak(word, VOICE).astype(np.float64) / 32768
            pieces += [0.5 * soxr.resample(said, espeak.sample_rate, RATE), np.zeros(round(pause * RATE))]
    samples = np.concatenate(pieces)
    return np.rint(32767 * (samples + 0.001 * random.standard_normal(len(samples)))).astype(np.int16)


def browser(microphone: Path, width: int = 1280, height: int = 900):
    """Chromium without a window, whose microphone plays a WAV once.

    Skips the test where there is none, or no selenium to drive it.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--enable-blink-features=ForceEagerMeasureMemory",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    resize(opened, width, height)
    return opened


def resize(opened, width: int, height: int, dark: bool = False) -> None:
    """The size of the page, and whether the system is dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
