// Decoder, words and detector as sliders that act at once; back to what is stored; saving.
import { Slider } from "./sliders.js";
import { remember, remembered } from "./remembered.js";
import { served, server } from "./server.js";

const $ = (id) => document.getElementById(id);
const RANGES = {
  tau_up: [0.01, 20], tau_down: [0.005, 5], large_input: [1, 30], gain_att: [0.0001, 1],
  threshold_up: [0.5, 30], threshold_down: [0.05, 10], level_threshold: [0.0001, 10],
};
const clone = (settings) => structuredClone(settings);

export class Tuning {
  // `onChange(settings)` is called for every change, and once with what was remembered.
  constructor(facts, mostSmoothing, onChange) {
    Object.assign(this, { facts, onChange });
    this.stored = clone(facts.settings);
    const kept = remembered.tuned[facts.id];
    this.settings = { ...clone(this.stored), ...(kept ?? {}) };
    const seconds = facts.hop / facts.sample_rate;
    this.sliders = {};
    this.#add("decoder", "threshold", { name: "Threshold", hint: "least averaged posterior of a word", min: 0, max: 1, step: 0.01 });
    this.#add("decoder", "smoothing", { name: "Smoothing, s", hint: "posteriors are averaged over it", min: 1, max: mostSmoothing, step: 1, shown: seconds });
    this.#add("decoder", "consecutive", { name: "Consecutive", hint: "hops in a row above the threshold", min: 1, max: Math.max(20, this.stored.consecutive), step: 1 });
    this.#add("decoder", "refractory", { name: "Refractory, s", hint: "silence after a word was reported", min: 0, max: Math.max(Math.round(2 / seconds), this.stored.refractory), step: 1, shown: seconds });
    for (const [name, hint] of Object.entries(facts.detector_hints)) {
      const [least, most] = RANGES[name];
      const value = this.stored.vad[name];
      const ratio = value > 0; // a stored 0 or less needs a straight scale
      const bounds = { min: Math.min(least, value), max: Math.max(most, value) };
      this.#add("vad", name, { name, hint: hint.replaceAll("…", "").trim(), ...bounds, step: 0.001, ratio });
    }
    this.words = facts.labels.map((label, i) => this.#word(label, i));
    $("per-word").addEventListener("change", () => this.#perWord($("per-word").checked));
    $("reset-network").addEventListener("change", () => this.#change({ reset: $("reset-network").checked }));
    $("reset").addEventListener("click", () => this.#change(clone(this.stored)));
    $("save").addEventListener("click", () => this.#save({ settings: this.settings }));
    $("save-vad").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save({ settings: this.settings, name: $("vad-name").value });
    });
    if (new Set(this.settings.threshold.filter((_, i) => !this.settings.ignored[i])).size > 1) document.body.classList.add("per-word");
    this.#show();
  }

  #add(box, key, options) {
    const onChange = (value) => {
      if (key === "threshold") this.#change({ threshold: this.facts.labels.map(() => value) });
      else if (box === "vad") this.#change({ vad: { ...this.settings.vad, [key]: value } });
      else this.#change({ [key]: value });
    };
    this.sliders[key] = new Slider({ ...options, onChange });
    $(box).append(this.sliders[key].row);
  }

  #word(label, i) {
    const box = document.createElement("div");
    box.className = "word";
    const check = document.createElement("label");
    check.className = "check";
    const heard = Object.assign(document.createElement("input"), { type: "checkbox" });
    check.append(heard, label);
    heard.addEventListener("change", () => {
      if (!heard.checked && this.settings.ignored.filter((ignored) => !ignored).length === 1) heard.checked = true; // one must stay
      this.#change({ ignored: this.settings.ignored.with(i, !heard.checked) });
    });
    const onChange = (value) => this.#change({ threshold: this.settings.threshold.with(i, value) });
    const slider = new Slider({ name: `Threshold of ${label}`, min: 0, max: 1, step: 0.01, onChange });
    box.append(check, slider.row);
    $("words").append(box);
    return { heard, slider };
  }

  #perWord(on) {
    document.body.classList.toggle("per-word", on);
    if (!on) this.#change({ threshold: this.facts.labels.map(() => this.sliders.threshold.value) });
    this.#show();
  }

  #change(values) {
    this.settings = { ...this.settings, ...values };
    const same = JSON.stringify(this.settings) === JSON.stringify(this.stored);
    const { [this.facts.id]: _, ...others } = remembered.tuned;
    remember({ tuned: same ? others : Object.fromEntries([...Object.entries(others).slice(-9), [this.facts.id, this.settings]]) });
    this.#show();
    this.onChange(this.settings);
  }

  #show() {
    const { settings, stored, sliders } = this;
    const spoken = settings.threshold.filter((_, i) => !settings.ignored[i]);
    const storedSpoken = stored.threshold.filter((_, i) => !stored.ignored[i]);
    const perWord = document.body.classList.contains("per-word");
    $("per-word").checked = perWord;
    sliders.threshold.row.hidden = perWord;
    sliders.threshold.show(spoken[0], storedSpoken[0]);
    for (const name of ["smoothing", "consecutive", "refractory"]) sliders[name].show(settings[name], stored[name]);
    for (const name of Object.keys(this.facts.detector_hints)) sliders[name].show(settings.vad[name], stored.vad[name]);
    this.words.forEach(({ heard, slider }, i) => {
      heard.checked = !settings.ignored[i];
      slider.row.hidden = settings.ignored[i];
      slider.show(settings.threshold[i], stored.threshold[i]);
    });
    $("reset-network").checked = settings.reset;
    document.body.classList.toggle("no-reset", !settings.reset);
    const same = JSON.stringify(settings) === JSON.stringify(stored);
    $("changed").textContent = same ? "" : "changed";
    $("reset").disabled = $("save").disabled = same;
  }

  async #save(what) {
    if (!served) return;
    $("saved").textContent = "saving …";
    try {
      const answer = await server.save(what);
      $("saved").textContent = answer.said;
      if (answer.settings) {
        this.stored = answer.settings;
        this.#change(clone(answer.settings));
      }
    } catch (error) {
      $("saved").textContent = error.message;
    }
  }
}
