// A stream of samples from one rate to another, for browsers that do not do it themselves. It also runs in node.

const ZEROS = 24; // of the sinc on either side, under a Hann window: 0.1 dB to 0.9 of the lower band, 60 dB beyond 1.1

const FINE = 512; // entries of the table from one zero to the next

// The sinc under its window, from its middle to the last zero, and a 0 beyond.
const TABLE = Float32Array.from({ length: ZEROS * FINE + 2 }, (_, i) => {
  const x = Math.PI * Math.min(i / FINE, ZEROS);
  return (i ? Math.sin(x) / x : 1) * (0.5 + 0.5 * Math.cos(x / ZEROS));
});

export class Resampler {
  // `from` and `to` in Hz.
  constructor(from, to) {
    this.step = from / to; // samples of input for each of output
    this.cut = Math.min(1, to / from);
    this.reach = Math.ceil(ZEROS / this.cut);
    this.kept = new Float32Array(this.reach); // silence before the beginning
    this.at = this.reach; // of the next output, in `kept` and what is appended to it
  }

  #weight(distance) {
    const x = Math.min(Math.abs(distance) * this.cut, ZEROS) * FINE;
    const below = Math.floor(x);
    return this.cut * (TABLE[below] + (x - below) * (TABLE[below + 1] - TABLE[below]));
  }

  // The next samples (S,) to what is ready of them at the other rate.
  push(samples) {
    const all = new Float32Array(this.kept.length + samples.length);
    all.set(this.kept);
    all.set(samples, this.kept.length);
    const count = Math.max(0, Math.ceil((all.length - this.reach - this.at) / this.step));
    const made = new Float32Array(count);
    for (let i = 0; i < count; i++, this.at += this.step) {
      const nearest = Math.floor(this.at);
      let sum = 0;
      for (let k = nearest - this.reach + 1; k <= nearest + this.reach; k++) sum += all[k] * this.#weight(this.at - k);
      made[i] = sum;
    }
    const past = Math.max(0, Math.floor(this.at) - this.reach);
    this.kept = all.slice(past);
    this.at -= past;
    return made;
  }
}
