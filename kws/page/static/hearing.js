// What is listened to: the microphone, what it brought before, a recording. One stream at a time goes to the worker.
import { listenToMicrophone, play } from "./audio.js";
import { remembered } from "./remembered.js";
import { joined } from "./takes.js";

export const KEPT = 12; // seconds of the microphone that can be heard again

// Events, with their `detail`: "begin" a stream (its source), "heard" some hops (what the engine said of them), "over" a
// recording (the clip and its words), "block" of the microphone (samples), "problem" (an error).
export class Hearing extends EventTarget {
  constructor(facts, worker) {
    super();
    Object.assign(this, { facts, worker, number: 0, source: "idle", clip: null, kept: [], keptCount: 0 });
    worker.onmessage = ({ data }) => this.#told(data);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  configure(settings) {
    this.worker.postMessage({ type: "settings", settings });
  }

  // A new stream; what is still on its way from the one before is not shown.
  #begin(source, clip = null) {
    this.stop?.();
    this.stop = this.waiting = null;
    this.clip = clip;
    this.number += 1;
    this.source = source;
    this.worker.postMessage({ type: "start", number: this.number });
    this.#tell("begin", source);
    return this.number;
  }

  end() {
    this.stop?.();
    this.stop = this.clip = null;
    this.source = "idle";
    this.#tell("begin", "idle");
  }

  #toWorker(number) {
    return (port) => this.worker.postMessage({ type: "connect", port, number }, [port]);
  }

  // Switch the microphone; whether it is on then.
  async microphone(on, device = "") {
    if (!on) {
      if (this.source === "microphone") this.end();
      return false;
    }
    const number = this.#begin("microphone");
    this.kept = [];
    this.keptCount = 0;
    const toPage = (port) => (port.onmessage = ({ data }) => number === this.number && this.#keep(data));
    try {
      const stop = await listenToMicrophone(this.facts.sample_rate, device, [this.#toWorker(number), toPage]);
      if (number !== this.number) stop();
      else this.stop = stop;
    } catch (error) {
      if (number === this.number) this.end();
      this.#tell("problem", new Error(`the microphone cannot be used: ${error.message}`));
    }
    return number === this.number && this.source === "microphone";
  }

  #keep(block) {
    this.#tell("block", block);
    this.kept.push(block);
    this.keptCount += block.length;
    while (this.keptCount - this.kept[0].length > KEPT * this.facts.sample_rate) this.keptCount -= this.kept.shift().length;
  }

  // The last seconds of the microphone, (S,).
  lastSeconds() {
    return joined(this.kept);
  }

  // A recording: `samples` (S,) at the spotter's rate, its `name`, and its `truth`, a label or null.
  async hear({ name, truth, samples }) {
    const { hop, sample_rate: rate } = this.facts;
    const number = this.#begin("clip", { name, truth, hops: Math.floor(samples.length / hop), words: [] });
    if (!this.clip.hops) return this.#over();
    if (!remembered.aloud) return this.#feed(samples, number);
    try {
      const stop = await play(samples.slice(), rate, [this.#toWorker(number)]);
      if (number !== this.number) stop();
      else this.stop = stop;
    } catch (error) {
      this.#tell("problem", error);
    }
  }

  // As fast as it can be heard, a second at a time.
  async #feed(samples, number) {
    for (let at = 0; at < samples.length && number === this.number; at += this.facts.sample_rate) {
      const answered = new Promise((resolve) => (this.waiting = resolve));
      this.worker.postMessage({ type: "samples", samples: samples.slice(at, at + this.facts.sample_rate), number });
      await answered;
    }
  }

  #told(data) {
    if (data.type === "memory") this.memory = data.bytes;
    if (data.type === "error") this.#tell("problem", new Error(data.text));
    if (data.type !== "heard" || data.stream !== this.number) return;
    this.clip?.words.push(...data.detections.map(({ label }) => this.facts.labels[label]));
    this.#tell("heard", data);
    this.waiting?.();
    if (this.clip && data.first + data.count >= this.clip.hops) this.#over();
  }

  #over() {
    const { clip } = this;
    this.end();
    this.#tell("over", clip);
  }
}
