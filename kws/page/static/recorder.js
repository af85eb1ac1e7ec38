// Record words: which to say, how loud it was, the second around it, played back, kept or said again.
import { play } from "./audio.js";
import { palette } from "./strip.js";
import { remember, remembered } from "./remembered.js";
import { server } from "./server.js";
import { Take } from "./takes.js";
import { writeWav } from "./wav.js";

const $ = (id) => document.getElementById(id);
const CLIPPED = 0.999;

export class Recorder {
  // `microphone(on)` switches it; `complain(error)` shows what went wrong.
  constructor(facts, microphone, complain) {
    Object.assign(this, { facts, microphone, complain, take: null, samples: null, prompts: [], at: 0, stopPlaying: null });
    const words = facts.labels.filter((_, i) => !facts.settings.ignored[i]).join(", ");
    $("record-words").value = remembered.words || words;
    $("record-takes").value = remembered.takes;
    $("record-speaker").value = remembered.speaker || crypto.getRandomValues(new Uint32Array(1))[0].toString(16).padStart(8, "0");
    $("record-start").addEventListener("click", () => (this.active ? this.end("stopped") : this.begin()));
    $("keep").addEventListener("click", () => this.keep());
    $("discard").addEventListener("click", () => this.again());
    $("play-take").addEventListener("click", () => this.playBack());
    $("skip").addEventListener("click", () => this.next());
    server.recordings().then(({ root }) => ($("root").textContent = root), complain);
  }

  get active() {
    return this.prompts.length > 0;
  }

  async begin() {
    const words = $("record-words").value.split(",").map((word) => word.trim()).filter(Boolean);
    const takes = Math.max(1, Math.min(100, Number($("record-takes").value) || 1));
    const speaker = $("record-speaker").value.trim();
    if (!words.length) return this.complain(new Error("name the words to record, with commas between them."));
    if (!/^[A-Za-z0-9-]{1,32}$/.test(speaker)) return this.complain(new Error("a speaker is letters, digits and dashes; no name is needed."));
    remember({ words: words.join(", "), takes, speaker });
    this.speaker = speaker;
    if (!(await this.microphone(true))) return;
    this.prompts = Array.from({ length: takes }, () => words).flat();
    this.at = 0;
    $("record-start").textContent = "Stop";
    $("prompt").hidden = false;
    this.prompt();
  }

  // Ask for the present word.
  prompt() {
    this.stopPlaying?.();
    this.take = new Take(this.facts.sample_rate);
    this.samples = null;
    this.peak = 0;
    this.waits = Math.round(0.25 * this.facts.sample_rate); // what was played back must fade first
    $("prompt-step").textContent = `${this.at + 1} of ${this.prompts.length}, say`;
    $("prompt-word").textContent = this.prompts[this.at];
    $("prompt-state").textContent = "listening …";
    this.#draw();
    this.#buttons(false);
  }

  // The microphone's next block.
  hear(block) {
    if (!this.active || !this.take) return;
    const loudest = block.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    $("prompt-level").style.width = `${Math.max(0, 100 + (20 * Math.log10(Math.max(loudest, 1e-5)) * 100) / 60)}%`;
    $("prompt-level").parentElement.classList.toggle("clipped", loudest >= CLIPPED);
    if ((this.waits -= block.length) > 0) return;
    const samples = this.take.hear(block);
    if (!samples) return;
    this.take = null;
    this.samples = samples;
    this.peak = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const level = `${(20 * Math.log10(Math.max(this.peak, 1e-5))).toFixed(0)} dB`;
    $("prompt-state").textContent =
      this.peak >= CLIPPED ? `${level}: clipped; step back a little and say it again.` : this.peak < 0.03 ? `${level}: very soft; come closer.` : `${level}. Enter keeps it, backspace takes it again.`;
    this.#draw();
    this.#buttons(true);
    $("keep").focus();
    this.playBack();
  }

  // Say the same word again.
  again() {
    if (this.samples) this.prompt();
  }

  async playBack() {
    if (!this.samples) return;
    this.stopPlaying?.();
    this.stopPlaying = await play(this.samples, this.facts.sample_rate, [(port) => port.start()]);
  }

  async keep() {
    if (!this.samples) return;
    const samples = this.samples;
    this.samples = null;
    this.#buttons(false);
    try {
      const { path } = await server.record(this.prompts[this.at], this.speaker, writeWav(samples, this.facts.sample_rate));
      this.last = path;
      this.next();
    } catch (error) {
      this.samples = samples;
      this.#buttons(true);
      this.complain(error);
    }
  }

  next() {
    this.at += 1;
    if (this.at < this.prompts.length) this.prompt();
    else this.end("Done. python evaluate.py run=… data=folder data.root=… judges a spotter on them.");
  }

  end(said) {
    this.stopPlaying?.();
    this.prompts = [];
    this.take = this.samples = null;
    $("record-start").textContent = "Begin";
    $("prompt-word").textContent = "";
    $("prompt-step").textContent = "";
    $("prompt-state").textContent = said;
    this.#buttons(false);
    $("skip").disabled = true;
    this.microphone(false);
  }

  #buttons(on) {
    for (const id of ["keep", "discard", "play-take"]) $(id).disabled = !on;
    $("skip").disabled = false;
  }

  // The wave of the second.
  #draw() {
    const canvas = $("take");
    const ratio = devicePixelRatio || 1;
    Object.assign(canvas, { width: canvas.clientWidth * ratio, height: canvas.clientHeight * ratio });
    const pen = canvas.getContext("2d");
    pen.fillStyle = palette()[this.peak >= CLIPPED ? "bad" : "accent"];
    const { width, height } = canvas;
    for (let x = 0; this.samples && x < width; x++) {
      const from = Math.floor((x / width) * this.samples.length);
      const to = Math.max(from + 1, Math.floor(((x + 1) / width) * this.samples.length));
      let most = 0;
      for (let i = from; i < to; i++) most = Math.max(most, Math.abs(this.samples[i]));
      pen.fillRect(x, (height / 2) * (1 - most), 1, Math.max(1, height * most));
    }
  }
}
