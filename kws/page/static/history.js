// The last seconds of a stream, hop by hop, in memory that does not grow.

export class History {
  constructor(facts, seconds) {
    this.facts = facts;
    this.hopSeconds = facts.hop / facts.sample_rate;
    this.size = Math.ceil(seconds / this.hopSeconds);
    const { labels, features } = facts;
    this.widths = { features, posteriors: labels.length, smoothed: labels.length, level: 1, floor: 1, voice: 1, reset: 1 };
    for (const [name, width] of Object.entries(this.widths)) this[name] = new Float32Array(this.size * width);
    this.clear();
  }

  clear() {
    this.count = 0;
    this.detections = [];
  }

  // The first hop that is still known.
  get oldest() {
    return Math.max(0, this.count - this.size);
  }

  at(hop) {
    return hop % this.size;
  }

  // What the engine said of the next hops.
  add(heard) {
    const from = Math.max(0, heard.count - this.size);
    for (const [name, width] of Object.entries(this.widths)) {
      for (let i = from; i < heard.count; i++) {
        this[name].set(heard[name].subarray(i * width, (i + 1) * width), this.at(heard.first + i) * width);
      }
    }
    this.count = heard.first + heard.count;
    this.detections.push(...heard.detections);
    while (this.detections.length && this.detections[0].hop < this.oldest) this.detections.shift();
  }
}
