// The page: what is heard, from which source, and how it is shown.
import { decode, listenToMicrophone, microphones, play } from "./audio.js";
import { Clips } from "./clips.js";
import { scaleNames } from "./colours.js";
import { DetectorStrip, FeatureStrip, LaneStrip, palette } from "./drawing.js";
import { History } from "./history.js";
import { Recorder } from "./recorder.js";
import { remember, remembered } from "./remembered.js";
import { fileOfPage, served } from "./server.js";
import { Slider } from "./sliders.js";
import { joined } from "./takes.js";
import { Tuning } from "./tuning.js";
import { writeWav } from "./wav.js";

const KEPT = 12; // seconds that can be seen, and heard again
const LISTED = 200; // words in the list
const $ = (id) => document.getElementById(id);

function complain(error) {
  console.error(error);
  $("problem").textContent = error.message ?? String(error);
  $("problem").hidden = false;
}

class Page {
  constructor(facts, worker, mostSmoothing) {
    Object.assign(this, { facts, worker, number: 0, source: "idle", clip: null, stop: null, now: 0, drawn: 0, kept: [], keptCount: 0, waiting: null });
    this.history = new History(facts, KEPT);
    this.features = new FeatureStrip($("features"), this.history);
    this.detector = new DetectorStrip($("detector"), this.history);
    this.lanes = new LaneStrip($("lanes"), this.history);
    this.colours = palette();
    this.tuning = new Tuning(facts, mostSmoothing, (settings) => this.tuned(settings));
    this.tuned(this.tuning.settings);
    worker.onmessage = ({ data }) => this.told(data);
    this.clips = new Clips(facts, (clip) => this.hearClip(clip), complain);
    if (served) this.recorder = new Recorder(facts, (on) => this.microphone(on), complain);
    this.look();
    this.wire();
    this.devices();
    const { sample_rate: rate, hop } = facts;
    const kind = facts.integers ? " in int8" : "";
    $("spotter").textContent = `${facts.name} · ${rate / 1000} kHz · an answer every ${(1000 * hop) / rate} ms · ${facts.weights.toLocaleString("en")} weights${kind}`;
    document.title = `kws · ${facts.name}`;
  }

  tuned(settings) {
    this.worker.postMessage({ type: "settings", settings });
    $("lanes").style.setProperty("--lanes", settings.ignored.filter((ignored) => !ignored).length);
    this.redraw();
  }

  look() {
    for (const name of scaleNames) $("colours").add(new Option(name, name));
    $("colours").value = remembered.colours;
    const choose = () => {
      this.features.choose(remembered.colours, remembered.contrast);
      this.redraw();
    };
    $("colours").addEventListener("change", () => (remember({ colours: $("colours").value }), choose()));
    const contrast = new Slider({ name: "Range", hint: "standard deviations to the end of the scale", min: 0.5, max: 6, step: 0.1, onChange: (value) => (remember({ contrast: value }), choose()) });
    const clear = new Slider({ name: "Word stays, s", hint: "0: until the next one", min: 0, max: 10, step: 0.5, onChange: (value) => remember({ clearAfter: value }) });
    contrast.show(remembered.contrast);
    clear.show(remembered.clearAfter);
    $("look").append(contrast.row, clear.row);
    choose();
    const changed = () => ((this.colours = palette()), this.redraw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
    new ResizeObserver(() => this.redraw()).observe($("features"));
  }

  wire() {
    $("microphone").addEventListener("click", () => this.microphone(this.source !== "microphone"));
    $("again").addEventListener("click", () => this.again());
    $("clear").addEventListener("click", () => this.clear());
    $("problem").addEventListener("click", () => ($("problem").hidden = true));
    $("aloud").checked = remembered.aloud;
    $("aloud").addEventListener("change", () => remember({ aloud: $("aloud").checked }));
    $("device").addEventListener("change", () => {
      remember({ device: $("device").value });
      if (this.source === "microphone") this.microphone(true);
    });
    addEventListener("keydown", (event) => this.key(event));
    let inside = 0;
    addEventListener("dragenter", (event) => (event.preventDefault(), inside++, ($("drop").hidden = false)));
    addEventListener("dragleave", () => ($("drop").hidden = --inside > 0 ? false : true));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      inside = 0;
      $("drop").hidden = true;
      this.clips.take([...event.dataTransfer.files]);
    });
  }

  key(event) {
    const typing = event.target.matches("input:not([type=checkbox], [type=range]), select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const pressed = event.target.matches("button, a, summary, input");
    const keys = {
      " ": () => pressed || this.microphone(this.source !== "microphone"),
      "+": () => this.clips.step(1), "=": () => this.clips.step(1), "-": () => this.clips.step(-1),
      p: () => this.clips.step(0), a: () => this.again(), Escape: () => this.clear(),
      Backspace: () => this.recorder?.samples && this.recorder.prompt(),
      Enter: () => pressed || this.recorder?.keep(),
    };
    const action = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!action) return;
    if (!pressed || event.key !== " ") action();
    if (event.key === " " && !pressed) event.preventDefault();
  }

  async devices() {
    const found = await microphones();
    const options = found.filter(({ id }) => id).map(({ id, name }, i) => new Option(name || `microphone ${i + 1}`, id));
    $("device").replaceChildren(new Option("Default microphone", ""), ...options);
    $("device").value = found.some(({ id }) => id === remembered.device) ? remembered.device : "";
    navigator.mediaDevices?.addEventListener("devicechange", () => this.devices(), { once: true });
  }

  // A new stream; what is still on its way from the one before is not shown.
  begin(source) {
    this.stop?.();
    this.stop = null;
    this.number += 1;
    this.source = source;
    this.clip = null;
    this.waiting = null;
    this.worker.postMessage({ type: "start", number: this.number });
    this.history.clear();
    this.now = 0;
    this.shut();
    const on = source === "microphone";
    $("microphone").setAttribute("aria-pressed", on);
    $("microphone").lastChild.textContent = on ? "Stop" : "Microphone";
    document.body.dataset.source = source;
    return this.number;
  }

  end() {
    this.stop?.();
    this.stop = null;
    this.source = "idle";
    $("microphone").setAttribute("aria-pressed", false);
    $("microphone").lastChild.textContent = "Microphone";
    $("level").style.width = 0;
    document.body.dataset.source = "idle";
  }

  toWorker(number) {
    return (port) => this.worker.postMessage({ type: "connect", port, number }, [port]);
  }

  // Switch the microphone; whether it is on then.
  async microphone(on) {
    if (!on) {
      if (this.source === "microphone") this.end();
      return false;
    }
    const number = this.begin("microphone");
    this.kept = [];
    this.keptCount = 0;
    const toPage = (port) => (port.onmessage = ({ data }) => this.keep(data));
    try {
      const stop = await listenToMicrophone(this.facts.sample_rate, $("device").value, [this.toWorker(number), toPage]);
      if (number !== this.number) stop();
      else this.stop = stop;
      this.devices();
      this.say("", "listening …", "empty");
      return number === this.number;
    } catch (error) {
      this.end();
      complain(new Error(`the microphone cannot be used: ${error.message}`));
      return false;
    }
  }

  // The last seconds of the microphone, to be heard again.
  keep(block) {
    if (this.source !== "microphone") return;
    this.recorder?.hear(block);
    this.kept.push(block);
    this.keptCount += block.length;
    while (this.keptCount - this.kept[0].length > KEPT * this.facts.sample_rate) this.keptCount -= this.kept.shift().length;
    $("again").disabled = false;
  }

  again() {
    if (!this.kept.length) return;
    const samples = joined(this.kept);
    URL.revokeObjectURL($("download").href);
    $("download").href = URL.createObjectURL(new Blob([writeWav(samples, this.facts.sample_rate)], { type: "audio/wav" }));
    $("download").hidden = false;
    this.hearClip({ name: "what was just heard", truth: null, samples });
  }

  async hearClip({ name, truth, samples }) {
    const { hop, sample_rate: rate } = this.facts;
    const number = this.begin("clip");
    this.clip = { name, truth, hops: Math.floor(samples.length / hop), words: [] };
    this.say("", name, "empty");
    if (!this.clip.hops) return this.heardClip();
    if (!remembered.aloud) return this.feed(samples, number);
    try {
      const stop = await play(samples.slice(), rate, [this.toWorker(number)], () => {});
      if (number !== this.number) stop();
      else this.stop = stop;
    } catch (error) {
      complain(error);
    }
  }

  // A recording as fast as it can be heard, a second at a time.
  async feed(samples, number) {
    for (let at = 0; at < samples.length && number === this.number; at += this.facts.sample_rate) {
      const answered = new Promise((resolve) => (this.waiting = resolve));
      this.worker.postMessage({ type: "samples", samples: samples.slice(at, at + this.facts.sample_rate), number });
      await answered;
    }
  }

  // What the worker says.
  told(data) {
    if (data.type === "error") return complain(new Error(data.text));
    if (data.type === "memory") return (document.body.dataset.memory = JSON.stringify(data));
    if (data.type !== "heard" || data.stream !== this.number) return;
    this.history.add(data);
    this.meter(data);
    for (const detection of data.detections) this.detected(detection);
    this.waiting?.();
    if (this.clip && data.first + data.count >= this.clip.hops) this.heardClip();
  }

  meter({ peak, power }) {
    const decibel = 10 * Math.log10(Math.max(power, 1e-9));
    $("level").style.width = `${Math.max(0, Math.min(100, 100 + (decibel * 100) / 60))}%`;
    const meter = $("level").parentElement;
    meter.classList.toggle("clipped", peak >= 0.999);
    meter.setAttribute("aria-valuenow", Math.round(Math.max(-60, decibel)));
  }

  detected({ label, confidence, time }) {
    const word = this.facts.labels[label];
    const truth = this.clip?.truth ?? null;
    const wrong = truth !== null && word !== truth;
    this.clip?.words.push(word);
    this.say(word, wrong ? `${confidence.toFixed(2)} · it was ${truth}` : confidence.toFixed(2), wrong ? "wrong" : "said", confidence);
    this.list(time, word, confidence.toFixed(2), wrong ? `was ${truth}` : truth ? "✓" : "", wrong);
    clearTimeout(this.clearing);
    if (remembered.clearAfter) this.clearing = setTimeout(() => this.shut(), 1000 * remembered.clearAfter);
  }

  // A recording is over.
  heardClip() {
    const { truth, words } = this.clip;
    const due = truth !== null && !this.facts.settings.ignored[this.facts.labels.indexOf(truth)];
    if (due && !words.length) {
      this.say("", `nothing heard · it was ${truth}`, "empty");
      this.list(null, "–", "", `was ${truth}`, true);
    } else if (truth !== null && !due && !words.length) {
      this.say("", `nothing heard, and rightly: ${truth}`, "empty");
    }
    this.clip = null;
    this.end();
    document.body.dataset.heard = this.number;
  }

  say(word, verdict, state, confidence = 0) {
    $("word").textContent = word || "—";
    $("word").dataset.state = state;
    $("verdict").textContent = verdict;
    $("verdict").classList.toggle("wrong", state === "wrong");
    $("confidence").style.height = `${100 * confidence}%`;
  }

  // Take the shown word away.
  shut() {
    clearTimeout(this.clearing);
    this.say("", this.source === "microphone" ? "listening …" : "", "empty");
  }

  clear() {
    this.shut();
    $("list").replaceChildren();
  }

  list(time, word, confidence, note, wrong) {
    const item = document.createElement("li");
    const [when, what, rest] = ["span", "b", "span"].map((name) => document.createElement(name));
    when.textContent = time === null ? "" : `${time.toFixed(2)} s`;
    what.textContent = word;
    rest.textContent = [confidence, note].filter(Boolean).join("  ");
    if (wrong) item.classList.add("wrong"), rest.classList.add("wrong");
    if (time !== null) Object.assign(item.dataset, { word, time: time.toFixed(4), confidence, stream: this.number });
    item.append(when, what, rest);
    $("list").prepend(item);
    while ($("list").children.length > LISTED) $("list").lastChild.remove();
  }

  redraw() {
    this.dirty = true;
  }

  // Hops come in blocks; what is shown follows them evenly.
  frame(time) {
    const passed = Math.min((time - (this.before ?? time)) / 1000, 0.1);
    this.before = time;
    const { history } = this;
    if (this.source === "idle" || !remembered.aloud) {
      if (this.now !== history.count) this.dirty = true;
      this.now = history.count;
    } else {
      const behind = history.count - this.now;
      const pace = passed / history.hopSeconds;
      this.now = behind > 1 / history.hopSeconds ? history.count : Math.min(history.count, this.now + pace * (1 + 0.2 * (behind - 4)));
      this.now = Math.max(this.now, 0);
      this.dirty = true;
    }
    if (this.dirty) {
      this.dirty = false;
      const shown = ($("features").clientWidth > 560 ? 8 : 4) / history.hopSeconds;
      this.features.draw(shown, this.now, this.colours);
      this.detector.draw(shown, this.now, this.colours, this.tuning.settings);
      this.lanes.draw(shown, this.now, this.colours, this.tuning.settings);
      document.body.dataset.frames = ++this.drawn;
    }
    requestAnimationFrame((next) => this.frame(next));
  }
}

async function open() {
  document.body.classList.toggle("is-served", served);
  const [facts, bytes] = await Promise.all([fileOfPage("spotter.json"), fileOfPage("kws_model.wasm")]);
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const ready = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.type === "ready" ? resolve(data) : reject(new Error(data.text)));
    worker.onerror = (event) => reject(new Error(event.message));
  });
  worker.postMessage({ type: "load", bytes, facts, settings: facts.settings });
  const { mostSmoothing } = await ready;
  const page = new Page(facts, worker, mostSmoothing);
  globalThis.kws = page; // for the console, and for tests
  requestAnimationFrame((time) => page.frame(time));
  page.shut();
  $("word").textContent = "Press space, or drop a recording";
  document.body.dataset.source = "idle";
  document.body.dataset.ready = "yes";
}

open().catch(complain);
