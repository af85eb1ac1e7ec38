"""The page in Chromium, whose microphone plays known words: what it hears, shows, saves and records."""

import base64
import functools
import http.server
import threading
import time

import numpy as np
import pytest
import soundfile
from aiohttp import web

from kws.evaluation.as_used import with_decoder
from kws.listen.ears import open_ears
from kws.page import write_page
from kws.spotter import Spotter
from kws.spotters import named
from kws.view.__main__ import parse, prepare
from tests.native.spotters import zig
from tests.scripts import call
from tests.view.serving import RATE, browser, in_a_thread, resize, running, speech

WORDS = ("yes", "left", "go", "no")
HOP = 256 / RATE


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run with the bundled network, recordings in folders named after words, and what the microphone plays."""
    if zig() is None:
        pytest.skip("needs ziglang")
    folder = tmp_path_factory.mktemp("view")
    (folder / "run").mkdir()
    spotter = Spotter.load(named())  # with a decoder that hears synthetic voices, whatever was chosen for people's
    with_decoder(spotter, {"threshold": 0.5, "smoothing": 0.05, "consecutive": 1, "refractory": 0.5})
    spotter.save(folder / "run" / "spotter.ckpt")
    (folder / "run" / "results.json").write_text("{}")
    soundfile.write(folder / "words.wav", speech(WORDS), RATE)
    for truth, word in (("yes", "yes"), ("no", "left")):
        (folder / "clips" / truth).mkdir(parents=True)
        soundfile.write(folder / "clips" / truth / f"{word}.wav", speech((word,)), RATE)
    return folder


@pytest.fixture(scope="module")
def chromium(place):
    """The browser, with nothing open."""
    opened = browser(place / "words.wav")
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def served(place, tmp_path_factory):
    """The server of the run."""
    arguments = [str(place / "run"), "--clips", str(place / "clips"), "--recordings", str(place / "recordings")]
    prepared = prepare(parse(arguments), tmp_path_factory.mktemp("page"))
    prepared.choices = tmp_path_factory.mktemp("choices")
    with running(prepared) as served:
        yield served


@pytest.fixture(scope="module")
def static(place, tmp_path_factory):
    """The static page of the run, behind Python's own server."""
    folder = tmp_path_factory.mktemp("static")
    write_page(Spotter.load(place / "run" / "spotter.ckpt"), folder, "run")
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """`python -m http.server`, which says nothing."""

    def log_message(self, *_):
        """Nothing."""


class Page:
    """What a person does with the page, and sees."""

    def __init__(self, driver, address):
        self.driver = driver
        driver.get_log("browser")
        driver.get(address)
        self.js("localStorage.clear()")
        driver.get(address)
        self.until("document.body.dataset.ready")

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, condition, seconds=20.0):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not (found := self.js(f"return {condition}")):
            assert time.monotonic() < end, f"{condition} has not come true; {self.problems()}"
            time.sleep(0.02)
        return found

    def problems(self):
        """What the browser's console says, and the page."""
        shown = self.js("return document.getElementById('problem').textContent")
        return [shown, *(entry["message"] for entry in self.driver.get_log("browser"))]

    def click(self, name):
        self.js("document.getElementById(arguments[0]).click()", name)

    def set(self, selector, value, event="input"):
        """Move a slider, or fill in a field."""
        script = "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
        self.js(f"{script} e.dispatchEvent(new Event('{event}', {{ bubbles: true }}))", selector, value)

    def key(self, key):
        self.js("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: arguments[0], bubbles: true }))", key)

    def quick(self):
        """Recordings as fast as they can be heard."""
        self.js("if (document.getElementById('aloud').checked) document.getElementById('aloud').click()")

    def hear(self, path, seconds=20.0):
        """What the page lists when it has heard a file: (word, time) in order, and confidences."""
        self.click("clear")
        before = self.js("return kws.hearing.number")
        self.driver.find_element("id", "files").send_keys(str(path))
        self.until(f"Number(document.body.dataset.heard) > {before}", seconds)
        return self.listed()

    def listed(self):
        items = self.js(
            "return [...document.querySelectorAll('#list li')].reverse()"
            ".map(({ dataset }) => [dataset.word, Number(dataset.time), Number(dataset.confidence)])"
        )
        return [(word, round(time, 3)) for word, time, _ in items], [confidence for *_, confidence in items]


def listened(place, samples):
    """What `python -m kws.listen` hears: (word, time), and confidences."""
    ears = open_ears(place / "run")
    found = ears.hear(samples).detections
    return [(d.word, round(d.time, 3)) for d in found], [d.confidence for d in found]


def address(served):
    return f"http://127.0.0.1:{served.port}/?token={served.token}"


@pytest.fixture
def page(chromium, served):
    page = Page(chromium, address(served))
    yield page
    assert not [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_the_microphones_words_and_times_are_those_of_listen(page, place):
    expected, _ = listened(place, speech(WORDS))
    assert [word for word, _ in expected] == list(WORDS)
    page.key(" ")
    page.until("kws.hearing.source === 'microphone'")
    frames, begun = page.js("return kws.screen.drawn"), time.monotonic()
    page.until(f"document.querySelectorAll('#list li').length >= {len(WORDS)}")
    rate = (page.js("return kws.screen.drawn") - frames) / (time.monotonic() - begun)
    found, _ = page.listed()
    page.key(" ")
    assert page.js("return kws.hearing.source") == "idle"
    assert rate > 15  # 60 on an idle laptop
    # The very samples that it heard, through kws.listen: the same words in the same hops. And heard again, too.
    said = page.js(
        "return btoa(kws.hearing.kept.flatMap((block) => Array.from(new Uint8Array(block.buffer),"
        " (x) => String.fromCharCode(x))).join(''))"
    )
    samples = np.frombuffer(base64.b64decode(said), np.float32)
    assert found == listened(place, samples)[0]
    page.quick()
    page.click("clear")
    before = page.js("return kws.hearing.number")
    page.key("a")
    page.until(f"Number(document.body.dataset.heard) > {before}")
    assert page.listed()[0] == found
    assert page.js("return document.getElementById('download').href").startswith("blob:")
    # And those of the file, but for when the microphone began, and a hop of the browser's resampling. The file is put
    # where the microphone had it: where the grid of hops begins alone moves a detection by up to two hops.
    original = speech(WORDS).astype(np.float32) / 32768
    behind = delay(samples, original)
    wanted, _ = listened(place, np.concatenate([np.zeros(max(behind, 0), np.float32), original[max(-behind, 0) :]]))
    assert [word for word, _ in found] == [word for word, _ in wanted] == list(WORDS)
    np.testing.assert_allclose([time for _, time in found], [time for _, time in wanted], atol=1.01 * HOP)


def delay(samples, original):
    """Samples by which (S,) lies behind an original."""
    size = 1 << (len(samples) + len(original)).bit_length()
    product = np.fft.rfft(samples, size) * np.conj(np.fft.rfft(original, size))
    best = int(np.fft.irfft(product).argmax())
    return best if best < size // 2 else best - size


def test_a_browser_that_does_not_resample_the_microphone(page):
    page.js(
        "const own = AudioContext.prototype.createMediaStreamSource; AudioContext.prototype.createMediaStreamSource ="
        " function (stream) { if (this.sampleRate === 16000) throw new DOMException('rates', 'NotSupportedError');"
        " return own.call(this, stream); };"
    )
    page.key(" ")
    page.until("document.querySelectorAll('#list li').length >= 2")
    page.key(" ")
    assert [word for word, _ in page.listed()[0]][:2] == list(WORDS[:2])


@pytest.mark.parametrize("kind", ["served", "static"])
def test_a_file_is_heard_exactly_as_listen_hears_it(kind, chromium, served, static, place):
    page = Page(chromium, address(served) if kind == "served" else static)
    page.quick()
    found, confidences = page.hear(place / "words.wav")
    expected, sure = listened(place, speech(WORDS))
    assert found == expected
    np.testing.assert_allclose(confidences, sure, atol=0.006)
    if kind == "static":
        assert page.js("return getComputedStyle(document.getElementById('recorder')).display") == "none"
        assert page.js("return getComputedStyle(document.getElementById('save')).display") == "none"
        origins = page.js("return performance.getEntriesByType('resource').map(({ name }) => new URL(name).origin)")
        assert set(origins) == {static.rstrip("/")}
    page.click("aloud")  # and at the pace at which it is played
    found, _ = page.hear(place / "clips" / "yes" / "yes.wav")
    assert found == listened(place, speech(("yes",)))[0]
    assert not [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]


def test_sliders_act_at_once_and_go_back(page, place):
    page.quick()
    first = page.hear(place / "words.wav")
    page.set("#decoder input[type=range]", 1)
    assert page.hear(place / "words.wav")[0] == []
    page.driver.refresh()  # settings are remembered
    page.until("document.body.dataset.ready")
    assert page.js("return document.getElementById('changed').textContent") == "changed"
    assert page.hear(place / "words.wav")[0] == []
    page.click("reset")
    assert page.js("return document.getElementById('changed').textContent") == ""
    assert page.hear(place / "words.wav") == first
    for which, least in ((2, 20), (1, 31)):  # so many hops in a row; an average so long
        page.set(f"#decoder .row:nth-child({which + 1}) input[type=range]", least)
        assert page.hear(place / "words.wav") != first
        page.click("reset")
    page.js("[...document.querySelectorAll('#words label')].find((e) => e.textContent === 'left').click()")
    assert [word for word, _ in page.hear(place / "words.wav")[0]] == [word for word in WORDS if word != "left"]


def test_the_detectors_parameters_act_at_once(page, place):
    page.quick()
    voice = "return kws.screen.history.voice.reduce((a, b) => a + b, 0)"
    resets = "return kws.screen.history.reset.reduce((a, b) => a + b, 0)"
    page.js("if (document.getElementById('reset-network').checked) document.getElementById('reset-network').click()")
    page.hear(place / "words.wav")
    assert page.js(voice) == page.js(resets) == 0
    page.click("reset-network")
    for name, value in (("threshold_up", 1.1), ("level_threshold", 0.01), ("threshold_down", 1.0)):
        page.set(f"#vad input[type=number][aria-label={name}]", value, "change")
    page.hear(place / "words.wav")
    some = page.js(voice)
    assert some > 10
    assert page.js(resets) >= 1
    page.set("#vad input[type=number][aria-label=level_threshold]", 9, "change")
    page.hear(place / "words.wav")
    assert page.js(voice) < some
    page.click("reset")


def test_saving_changes_the_stored_spotter_and_nothing_else(page, place):
    run = place / "run"
    before, others = Spotter.load(run / "spotter.ckpt"), sorted(path.name for path in run.iterdir())
    stored = (run / "spotter.ckpt").read_bytes()
    page.set("#decoder input[type=range]", 0.71)
    page.click("save")
    page.until("document.getElementById('saved').textContent.startsWith('Saved')")
    after = Spotter.load(run / "spotter.ckpt")
    assert after.decoder.settings == {**before.decoder.settings, "threshold": 0.71}
    assert {k: v for k, v in after.settings.items() if k not in ("decoder", "about")} == {
        k: v for k, v in before.settings.items() if k not in ("decoder", "about")
    }
    assert sorted(path.name for path in run.iterdir()) == others
    assert (run / "results.json").read_text() == "{}"
    page.driver.refresh()
    page.until("document.body.dataset.ready")
    assert page.js("return kws.tuning.stored.threshold[2]") == 0.71
    assert page.js("return document.getElementById('changed').textContent") == ""
    (run / "spotter.ckpt").write_bytes(stored)


def test_a_detector_is_kept_as_a_choice(page, served):
    page.set("#vad input[type=number][aria-label=tau_up]", 0.75, "change")
    page.set("#vad-name", "my_room")
    page.js("document.getElementById('save-vad').requestSubmit()")
    page.until("document.getElementById('saved').textContent.startsWith('Written')")
    assert "tau_up: 0.75\n" in (served.choices / "my_room.yaml").read_text()
    page.js("document.getElementById('save-vad').requestSubmit()")
    page.until("document.getElementById('saved').textContent.includes('not written over')")
    page.driver.get_log("browser")  # which tells of the refusal
    page.click("reset")


def test_clips_are_stepped_through_and_wrong_ones_marked(page):
    page.quick()
    page.until("[...document.getElementById('source').options].some((o) => o.value === 'server/folder')")
    page.set("#source", "server/folder", "change")
    page.until("!document.getElementById('next').disabled")
    heard = "Number(document.body.dataset.heard) >= {} && document.getElementById('clip').textContent"
    before = page.js("return kws.hearing.number")
    page.key("+")
    assert page.until(heard.format(before + 1)) == "1 of 2 · no/left.wav"
    assert page.js("return document.getElementById('word').dataset.state") == "wrong"
    assert "it was no" in page.js("return document.getElementById('verdict').textContent")
    assert page.js("return document.querySelector('#list li.wrong').dataset.word") == "left"
    page.key("+")
    assert page.until(heard.format(before + 2)) == "2 of 2 · yes/yes.wav"
    assert page.js("return document.getElementById('word').textContent") == "yes"
    assert page.js("return document.getElementById('word').dataset.state") == "said"
    page.key("-")
    assert page.until(heard.format(before + 3)) == "1 of 2 · no/left.wav"
    page.key("Escape")
    assert page.js("return document.getElementById('list').children.length") == 0
    assert page.js("return document.getElementById('word').dataset.state") == "empty"


def test_a_recorded_word_is_what_was_played_and_trains(page, place, tmp_path):
    page.set("#record-words", "yes", "change")
    page.set("#record-takes", 1, "change")
    page.set("#record-speaker", "ab12", "change")
    page.click("record-start")
    page.until("!document.getElementById('keep').disabled")
    page.click("discard")  # the first one again: it is the second word then
    page.until("document.getElementById('keep').disabled")
    page.until("!document.getElementById('keep').disabled")
    assert page.js("return document.getElementById('prompt-state').textContent").startswith("-")
    page.click("keep")
    page.until("!kws.recorder.active")
    (path,) = (place / "recordings" / "yes").iterdir()
    assert path.name == "ab12_nohash_0.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    assert (rate, len(samples)) == (RATE, RATE)
    original = speech(WORDS).astype(np.float32) / 32768
    at = -delay(samples, original)
    played = original[at : at + RATE]
    likeness = np.corrcoef(played, samples[: len(played)])[0, 1]
    assert likeness > 0.98
    for word in ("yes", "no"):  # as a corpus: the same by many, and its reverse for another word
        (tmp_path / "words" / word).mkdir(parents=True)
        for speaker in range(24):
            said = samples if word == "yes" else samples[::-1]
            soundfile.write(tmp_path / "words" / word / f"{speaker:08x}_nohash_0.wav", said, RATE)
    done = call(
        "train", "debug=fast", "data=folder", f"data.root={tmp_path / 'words'}", "data.sample_rate=16000", "export=[]",
        f"directory={tmp_path / 'run'}", f"cache_dir={tmp_path / 'cache'}", "summary=false",
    )  # fmt: skip
    assert done.status == 0, done.err


def test_ten_minutes_do_not_make_it_grow(page, place, tmp_path):
    words = speech(WORDS)
    soundfile.write(tmp_path / "long.wav", np.tile(words, 1 + 600 * RATE // len(words))[: 600 * RATE], RATE)
    page.quick()
    before = page.js("return kws.hearing.number")
    page.driver.find_element("id", "files").send_keys(str(tmp_path / "long.wav"))
    used = []
    for share in (0.1, 0.9):
        page.until(f"kws.hearing.number > {before} && kws.screen.history.count > {share} * {600 / HOP}", 60)
        used.append(memory(page))
    page.until(f"Number(document.body.dataset.heard) > {before}", 60)
    assert page.js("return kws.screen.history.count") == 600 * RATE // 256
    assert len(page.listed()[0]) == 200  # the list is as long as it gets
    (first, last) = used
    assert last["engine"] == first["engine"]
    assert last["page"] - first["page"] < 2e6


def memory(page):
    """Bytes that the engine takes, and page and worker together after a collection."""
    page.js("kws.hearing.memory = null; kws.hearing.worker.postMessage({ type: 'memory' })")
    measured = page.driver.execute_async_script(
        "const done = arguments[0]; performance.measureUserAgentSpecificMemory().then(({ bytes }) => done(bytes), done)"
    )
    return {"engine": page.until("kws.hearing.memory"), "page": measured}


ATTACK = """
const [at, token, done] = arguments;
const told = async (answer) => [answer.type, answer.status, await answer.text()];
const attempt = (path, options) => fetch(at + path, options).then(told, (error) => [String(error)]);
const image = new Promise((told) => {
  const shown = Object.assign(new Image(), { onload: () => told("shown"), onerror: () => told("refused") });
  shown.src = at + "/icon.svg";
});
const headers = { "X-Kws-Token": token };
const record = "/api/recordings?word=yes&speaker=evil";
Promise.all([
  attempt(`/?token=${token}`),
  attempt(`/?token=${token}`, { mode: "no-cors" }),
  attempt("/api/sources", { headers }),
  attempt(record, { method: "POST", headers, body: "x" }),
  attempt(record, { method: "POST", mode: "no-cors", body: "x" }),
  attempt("/api/save", { method: "POST", mode: "no-cors", body: "{}" }),
  image,
]).then(done);
"""


def test_pages_of_other_origins_reach_nothing(chromium, served, place):
    """In the browser itself: a page elsewhere tries what it can."""

    async def elsewhere(_):
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", elsewhere)
    before = sorted(str(path) for path in place.rglob("*"))
    with in_a_thread(app) as port:
        chromium.get(f"http://127.0.0.1:{port}/")
        tried = chromium.execute_async_script(
            ATTACK,
            f"http://127.0.0.1:{served.port}",
            served.token,
        )
    *answers, image = tried
    assert image == "refused"
    for answer in answers:
        assert len(answer) == 1 or answer[:2] == ["opaque", 0], answer
        assert answer[-1] == "" or "TypeError" in answer[-1]
    assert sorted(str(path) for path in place.rglob("*")) == before
    chromium.get_log("browser")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_telephone_and_follows_the_system(page, dark):
    resize(page.driver, 390, 800, dark)
    try:
        page.js("for (const box of document.querySelectorAll('details')) box.open = true")
        time.sleep(0.1)
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")
        wide = page.js(
            "return [...document.querySelectorAll('button, select, input, canvas')]"
            ".filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.id)"
        )
        assert wide == []
        shown = page.js("return getComputedStyle(document.body).backgroundColor")
        red = int(shown[4:].split(",")[0])
        assert red < 60 if dark else red > 200
        nameless = page.js(
            "return [...document.querySelectorAll('button, select, input:not([hidden])')].filter((e) => "
            "!(e.textContent.trim() || e.ariaLabel || e.getAttribute('aria-label') || e.labels?.length)).length"
        )
        assert nameless == 0
    finally:
        resize(page.driver, 1280, 900)
