// The page put together: buttons, keys, and who tells whom.
import { microphones } from "./audio.js";
import { Clips } from "./clips.js";
import { Hearing } from "./hearing.js";
import { Recorder } from "./recorder.js";
import { remember, remembered } from "./remembered.js";
import { Screen } from "./screen.js";
import { fileOfPage, served } from "./server.js";
import { Shown } from "./shown.js";
import { Tuning } from "./tuning.js";
import { writeWav } from "./wav.js";

const $ = (id) => document.getElementById(id);

function complain(error) {
  $("problem").textContent = error.message ?? String(error);
  $("problem").hidden = false;
}

class Page {
  constructor(facts, worker, mostSmoothing) {
    this.facts = facts;
    this.hearing = new Hearing(facts, worker);
    this.shown = new Shown(facts);
    this.screen = new Screen(facts, facts.settings);
    const tuned = (settings) => [this.hearing, this.shown, this.screen].forEach((part) => part.configure(settings));
    this.tuning = new Tuning(facts, mostSmoothing, tuned);
    tuned(this.tuning.settings);
    this.clips = new Clips(facts, (clip) => this.hearing.hear(clip), complain);
    if (served) this.recorder = new Recorder(facts, (on) => this.microphone(on), complain);
    this.#follow();
    this.#wire();
    this.devices();
    const { sample_rate: rate, hop, integers, weights, name } = facts;
    const kind = integers ? " in int8" : "";
    $("spotter").textContent = `${name} · ${rate / 1000} kHz · an answer every ${(1000 * hop) / rate} ms · ${weights.toLocaleString("en")} weights${kind}`;
    document.title = `kws · ${name}`;
    this.shown.shut("Press space, or drop a recording");
  }

  // What is heard is shown.
  #follow() {
    const { hearing, shown, screen } = this;
    const on = (name, action) => hearing.addEventListener(name, ({ detail }) => action(detail));
    on("begin", (source) => {
      const listening = source === "microphone";
      $("microphone").setAttribute("aria-pressed", listening);
      $("microphone").lastChild.textContent = listening ? "Stop" : "Microphone";
      document.body.dataset.source = source;
      if (!listening && this.recorder?.active) this.recorder.end("stopped");
      if (source === "idle") return screen.end(), shown.level({ peak: 0, power: 0 });
      screen.begin(listening || remembered.aloud, hearing.clip?.hops);
      shown.begin(listening ? "listening …" : "");
    });
    on("heard", (heard) => {
      screen.history.add(heard);
      shown.level(heard);
      for (const detection of heard.detections) shown.word(detection, hearing.clip?.truth ?? null);
    });
    on("over", (clip) => {
      shown.over(clip);
      document.body.dataset.heard = hearing.number;
    });
    on("block", (block) => {
      $("again").disabled = false;
      this.recorder?.hear(block);
    });
    on("problem", complain);
  }

  #wire() {
    $("microphone").addEventListener("click", () => this.microphone(this.hearing.source !== "microphone"));
    $("again").addEventListener("click", () => this.again());
    $("problem").addEventListener("click", () => ($("problem").hidden = true));
    $("aloud").checked = remembered.aloud;
    $("aloud").addEventListener("change", () => remember({ aloud: $("aloud").checked }));
    $("device").addEventListener("change", () => {
      remember({ device: $("device").value });
      if (this.hearing.source === "microphone") this.microphone(true);
    });
    navigator.mediaDevices?.addEventListener("devicechange", () => this.devices());
    addEventListener("keydown", (event) => this.#key(event));
    let inside = 0; // elements under what is dragged
    const drag = (by) => ((inside = Math.max(0, inside + by)), ($("drop").hidden = !inside));
    addEventListener("dragenter", (event) => (event.preventDefault(), drag(1)));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("dragleave", () => drag(-1));
    addEventListener("drop", (event) => {
      event.preventDefault();
      drag(-inside);
      this.clips.take([...event.dataTransfer.files]);
    });
  }

  #key(event) {
    const typing = event.target.matches("input:not([type=checkbox], [type=range]), select");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const pressed = event.target.matches("button, a, summary, input"); // which space and enter press
    const keys = {
      " ": () => this.microphone(this.hearing.source !== "microphone"),
      "+": () => this.clips.step(1),
      "=": () => this.clips.step(1),
      "-": () => this.clips.step(-1),
      p: () => this.clips.step(0),
      a: () => this.again(),
      escape: () => this.shown.clear(),
      backspace: () => this.recorder?.again(),
      enter: () => this.recorder?.keep(),
    };
    const action = keys[event.key.toLowerCase()];
    if (!action || (pressed && [" ", "Enter"].includes(event.key))) return;
    event.preventDefault();
    action();
  }

  // Fill the list of microphones; they have names once one of them has been allowed.
  async devices() {
    const found = (await microphones()).filter(({ id }) => id);
    const options = found.map(({ id, name }, i) => new Option(name || `microphone ${i + 1}`, id));
    $("device").replaceChildren(new Option("Default microphone", ""), ...options);
    $("device").value = found.some(({ id }) => id === remembered.device) ? remembered.device : "";
  }

  // Switch the microphone; whether it is on then.
  async microphone(on) {
    const listens = await this.hearing.microphone(on, $("device").value);
    if (listens) this.devices();
    return listens;
  }

  // The last seconds of the microphone once more, and as a file.
  again() {
    const samples = this.hearing.lastSeconds();
    if (!samples.length) return;
    URL.revokeObjectURL($("download").href);
    $("download").href = URL.createObjectURL(new Blob([writeWav(samples, this.facts.sample_rate)], { type: "audio/wav" }));
    $("download").hidden = false;
    this.hearing.hear({ name: "what was just heard", truth: null, samples });
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
  globalThis.kws = new Page(facts, worker, mostSmoothing); // for the console, and for tests
  document.body.dataset.ready = "yes";
}

open().catch(complain);
