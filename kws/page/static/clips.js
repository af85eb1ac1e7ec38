// Recordings to step through: the run's test clips, a folder, files that were dropped on the page.
import { decode } from "./audio.js";
import { remember, remembered } from "./remembered.js";
import { served, server } from "./server.js";

const SOUND = /\.(wav|flac|ogg|oga|opus|mp3|m4a|aac|webm)$/i;
const $ = (id) => document.getElementById(id);

export class Clips {
  // `hear({name, truth, samples})` is called with each recording that is chosen.
  constructor(facts, hear, complain) {
    Object.assign(this, { facts, hear, complain, list: [], index: -1, asked: 0 });
    $("previous").addEventListener("click", () => this.step(-1));
    $("next").addEventListener("click", () => this.step(1));
    $("play").addEventListener("click", () => this.step(0));
    for (const id of ["files", "folder"]) {
      $(id).addEventListener("change", () => {
        const chosen = [...$(id).files];
        $(id).value = ""; // so that the same one can be chosen again
        if (chosen.length) this.take(chosen);
      });
    }
    $("source").addEventListener("change", () => this.choose($("source").value, true));
    this.#offer();
  }

  async #offer() {
    const options = [["files", "Open files …"], ["folder", "Open a folder …"]];
    try {
      if (served) options.unshift(...(await server.sources()).map(({ name, title }) => [`server/${name}`, title]));
    } catch (error) {
      this.complain(error);
    }
    for (const [value, text] of options) $("source").add(new Option(text, value));
    if (options.some(([value]) => value === remembered.source)) {
      $("source").value = remembered.source;
      await this.choose(remembered.source, false);
    }
  }

  async choose(source, byHand) {
    if (source === "files" || source === "folder") {
      $(source).click();
      $("source").value = "";
      return;
    }
    if (!source) return this.#show([]);
    remember({ source });
    const name = source.slice("server/".length);
    try {
      $("clip").textContent = "reading the clips …";
      const clips = await server.clips(name);
      const read = async (index) => decode(await server.clip(name, index), this.facts.sample_rate);
      this.#show(clips.map(({ name, truth }, i) => ({ name, truth, read: () => read(i) })), remembered.place[source] ?? -1);
      if (byHand) $("next").focus();
    } catch (error) {
      this.#show([]);
      this.complain(error);
    }
  }

  // Files of this computer; they never leave it. The folder's name is the truth, where it is a label.
  take(files) {
    const sound = files.filter((file) => SOUND.test(file.name) || file.type.startsWith("audio/"));
    if (!sound.length) return this.complain(new Error("there is no recording among them; hand in WAV, FLAC, OGG, Opus or MP3."));
    sound.sort((a, b) => (a.webkitRelativePath + a.name).localeCompare(b.webkitRelativePath + b.name, "en", { numeric: true }));
    const clips = sound.map((file) => {
      const parent = (file.webkitRelativePath || "").split("/").at(-2);
      const truth = this.facts.labels.includes(parent) ? parent : null;
      return { name: parent ? `${parent}/${file.name}` : file.name, truth, read: async () => decode(await file.arrayBuffer(), this.facts.sample_rate) };
    });
    $("source").value = "";
    this.#show(clips);
    this.step(1);
  }

  #show(list, index = -1) {
    this.list = list;
    this.index = Math.min(index, list.length - 1);
    for (const id of ["previous", "play", "next"]) $(id).disabled = !list.length;
    this.#name();
  }

  #name() {
    const clip = this.list[this.index];
    $("clip").textContent = clip ? `${this.index + 1} of ${this.list.length} · ${clip.name}` : this.list.length ? `${this.list.length} recordings` : "";
    $("clip").title = clip?.name ?? "";
  }

  async step(by) {
    if (!this.list.length) return;
    const asked = ++this.asked;
    this.index = (Math.max(this.index + by, by < 0 && this.index < 1 ? -1 : 0) + this.list.length) % this.list.length;
    this.#name();
    if ($("source").value) remember({ place: { [$("source").value]: this.index } });
    const clip = this.list[this.index];
    try {
      const samples = await clip.read();
      if (asked === this.asked) this.hear({ name: clip.name, truth: clip.truth, samples });
    } catch (error) {
      this.complain(new Error(`${clip.name} cannot be heard: ${error.message}`));
    }
  }
}
