// Finding a spoken word in what the microphone brings, and cutting the second around it. It also runs in node.

const LOUDER = 3.2; // times the background: 10 dB
const LEAST = 0.003; // -50 dB: softer is no word
const AFTER = 0.5; // seconds of quiet that end a word
const LONGEST = 1.6; // seconds of a word
const BEFORE = 0.6; // seconds kept from before it

export class Take {
  constructor(rate, seconds = 1) {
    Object.assign(this, { rate, seconds, kept: [], background: null, begun: null, loudest: 0, quiet: 0, time: 0 });
  }

  // The next block; the second around the word (S,), once there is one, else null.
  hear(block) {
    const level = Math.hypot(...block) / Math.sqrt(block.length);
    const length = block.length / this.rate;
    this.kept.push(block);
    this.time += length;
    if (this.begun === null) {
      const loud = this.background !== null && level > Math.max(LOUDER * this.background, LEAST);
      this.background = this.background === null ? level : Math.min(level, this.background * 1.02 + 1e-6);
      if (loud) {
        this.begun = this.time - length;
        this.loudest = level;
      } else {
        while (this.kept.reduce((sum, piece) => sum + piece.length, 0) - this.kept[0].length > BEFORE * this.rate) this.kept.shift();
      }
      return null;
    }
    this.loudest = Math.max(this.loudest, level);
    this.quiet = level < Math.max(2 * this.background, 0.15 * this.loudest) ? this.quiet + length : 0;
    const lasted = this.time - this.begun;
    if (lasted < this.seconds - BEFORE + AFTER / 2 || (this.quiet < AFTER && lasted < LONGEST)) return null;
    return fit(joined(this.kept), Math.round(this.seconds * this.rate));
  }
}

export function joined(blocks) {
  const samples = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    samples.set(block, at);
    at += block.length;
  }
  return samples;
}

// The loudest stretch of so many samples, and of equally loud ones (1 %) the middle: as corpora are cut.
export function fit(samples, count) {
  if (samples.length <= count) {
    const padded = new Float32Array(count);
    padded.set(samples);
    return padded;
  }
  const mean = samples.reduce((sum, x) => sum + x, 0) / samples.length;
  const total = new Float64Array(samples.length + 1);
  samples.forEach((x, i) => (total[i + 1] = total[i] + (x - mean) ** 2));
  const energy = total.slice(count).map((sum, i) => sum - total[i]);
  const best = energy.reduce((at, x, i) => (x > energy[at] ? i : at), 0);
  let [left, right] = [best, best];
  while (left > 0 && energy[left - 1] >= 0.99 * energy[best]) left--;
  while (right < energy.length - 1 && energy[right + 1] >= 0.99 * energy[best]) right++;
  const first = Math.floor((left + right) / 2);
  return samples.slice(first, first + count);
}
