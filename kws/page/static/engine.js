// The engine: a spotter's C, compiled to WebAssembly. It knows nothing of pages and also runs in node.

const MAX_SMOOTHING = 6; // of kws_library_number

export class Engine {
  // `bytes` of kws_model.wasm, `facts` of spotter.json.
  static async create(bytes, facts) {
    // A model asks nothing of the system; what the C library may ask for answers that there is nothing.
    const nothing = new Proxy({}, { get: () => () => 52 });
    const { instance } = await WebAssembly.instantiate(bytes, { wasi_snapshot_preview1: nothing });
    return new Engine(instance.exports, facts);
  }

  constructor(c, facts) {
    c._initialize?.();
    this.c = c;
    this.facts = facts;
    this.parameters = Object.keys(facts.detector_hints); // in the engine's order
    const { hop, labels, features } = facts;
    this.state = c.malloc(c.kws_library_state_bytes());
    this.input = c.malloc(4 * hop);
    this.scores = c.malloc(4 * labels.length);
    this.features = c.malloc(4 * features);
    this.voice = c.malloc(8);
    this.levels = c.malloc(8);
    this.detection = c.malloc(c.kws_library_detection_bytes());
    this.mostSmoothing = c.kws_library_number(MAX_SMOOTHING);
    this.settings = facts.settings;
    this.start();
  }

  // Begin a stream: nothing heard yet, settings as they are.
  start() {
    this.c.kws_init(this.state);
    this.waiting = new Float32Array(this.facts.hop);
    this.waits = 0;
    this.hops = 0;
    this.spoke = 0;
    this.past = Array.from({ length: this.mostSmoothing }, () => new Float32Array(this.facts.labels.length));
    this.configure(this.settings);
  }

  // Settings count from the next hop on.
  configure(settings) {
    this.settings = settings;
    const { labels } = this.facts;
    const view = new DataView(this.c.memory.buffer, this.c.kws_library_settings(this.state), this.c.kws_library_settings_bytes());
    let at = 0;
    for (let i = 0; i < labels.length; i++, at += 4) {
      view.setFloat32(at, settings.ignored[i] ? 2 : settings.threshold[i], true); // above 1: no candidate
    }
    for (const name of ["smoothing", "consecutive", "refractory"]) {
      view.setInt32(at, settings[name], true);
      at += 4;
    }
    for (const name of this.parameters) {
      const off = name === "level_threshold" && !settings.reset; // no voice ever begins, so none ends
      view.setFloat32(at, off ? Infinity : settings.vad[name], true);
      at += 4;
    }
  }

  // The next samples (S,) in [-1, 1] at the spotter's rate: what the hops that they complete bring.
  hear(samples) {
    const { hop, labels, features } = this.facts;
    const count = Math.floor((this.waits + samples.length) / hop);
    const heard = {
      first: this.hops, count,
      features: new Float32Array(count * features),
      posteriors: new Float32Array(count * labels.length),
      smoothed: new Float32Array(count * labels.length),
      level: new Float32Array(count), floor: new Float32Array(count),
      voice: new Uint8Array(count), reset: new Uint8Array(count), detections: [],
    };
    let at = 0;
    for (let done = 0; at < samples.length; done++) {
      const some = samples.subarray(at, at + hop - this.waits);
      this.waiting.set(some, this.waits);
      this.waits += some.length;
      at += some.length;
      if (this.waits < hop) break;
      this.#hop(heard, done);
      this.waits = 0;
    }
    return heard;
  }

  #hop(heard, i) {
    const { c, facts } = this;
    const { hop, labels, features } = facts;
    new Float32Array(c.memory.buffer, this.input, hop).set(this.waiting);
    c.kws_library_process(this.state, 1, 1, this.input, this.scores, this.voice, this.features);
    c.kws_library_detector(this.state, this.levels, this.levels + 4);
    const voice = new Uint8Array(c.memory.buffer, this.voice, 1)[0];
    const [level, floor] = new Float32Array(c.memory.buffer, this.levels, 2);
    heard.features.set(new Float32Array(c.memory.buffer, this.features, features), i * features);
    heard.level[i] = level;
    heard.floor[i] = floor;
    heard.voice[i] = this.settings.reset ? voice : 0;
    heard.reset[i] = this.spoke && !voice ? 1 : 0;
    this.spoke = voice;
    const posteriors = new Float32Array(c.memory.buffer, this.scores, labels.length).map(Math.exp);
    heard.posteriors.set(posteriors, i * labels.length);
    this.#smooth(posteriors, heard.smoothed.subarray(i * labels.length, (i + 1) * labels.length));
    this.hops += 1;
    if (c.kws_decode(this.state, this.scores, this.detection)) {
      const view = new DataView(c.memory.buffer, this.detection);
      const sample = Number(view.getBigUint64(8, true));
      heard.detections.push({ label: view.getInt32(0, true), confidence: view.getFloat32(4, true), time: sample / facts.sample_rate, hop: this.hops - 1 });
    }
  }

  // What the decoder compares with the thresholds, for the eye: means over the last hops.
  #smooth(posteriors, mean) {
    this.past[this.hops % this.mostSmoothing].set(posteriors);
    const over = Math.min(Math.max(this.settings.smoothing, 1), this.mostSmoothing);
    for (let k = 0; k < over; k++) {
      const row = this.past[(((this.hops - k) % this.mostSmoothing) + this.mostSmoothing) % this.mostSmoothing];
      for (let i = 0; i < mean.length; i++) mean[i] += row[i] / over;
    }
  }
}
