// In the sound card's thread: takes what the microphone brings, or plays a clip, and hands the very samples on.
import { Resampler } from "./resampler.js";

const BLOCK = 512;

class Tap extends AudioWorkletProcessor {
  // Of a clip: `samples` (S,). Without it the microphone is heard, and brought to `rate` where that is another.
  constructor({ processorOptions }) {
    super();
    this.samples = processorOptions.samples ?? null;
    const { rate = sampleRate } = processorOptions;
    this.resampler = rate === sampleRate ? null : new Resampler(sampleRate, rate);
    this.at = 0;
    this.over = false;
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.ports = [];
    this.port.onmessage = ({ data }) => {
      if (data === "stop") this.over = true;
      else this.ports.push(data); // a MessagePort to hand samples on to
    };
  }

  // A block is handed on when it is full, or when nothing more comes.
  pass(piece, last = false) {
    for (let at = 0; at < piece.length; ) {
      const some = piece.subarray(at, at + BLOCK - this.filled);
      this.block.set(some, this.filled);
      this.filled += some.length;
      at += some.length;
      if (this.filled === BLOCK) this.flush();
    }
    if (last) this.flush();
  }

  flush() {
    if (!this.filled) return;
    const block = this.block.slice(0, this.filled);
    for (const port of this.ports) port.postMessage(block);
    this.filled = 0;
  }

  process([input], [output]) {
    if (this.over) return false;
    if (!this.samples) {
      if (input.length) this.pass(this.resampler ? this.resampler.push(input[0]) : input[0]);
      return true;
    }
    if (!this.ports.length) return true; // nobody listens yet
    const piece = this.samples.subarray(this.at, this.at + output[0].length);
    for (const channel of output) channel.set(piece);
    this.at += piece.length;
    const last = this.at >= this.samples.length;
    this.pass(piece, last);
    this.over = last;
    return !last;
  }
}

registerProcessor("tap", Tap);
