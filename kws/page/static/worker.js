// Hears away from the page's own thread. Audio comes from the page, or straight from the sound card's thread.
import { Engine } from "./engine.js";

let engine = null;
let stream = 0; // its number travels along, so that the page knows what belongs to what it has begun

function hear(samples, number) {
  if (!engine || number !== stream) return;
  const heard = engine.hear(samples);
  let peak = 0;
  let power = 0;
  for (const x of samples) {
    peak = Math.max(peak, Math.abs(x));
    power += x * x;
  }
  const { features, posteriors, smoothed, level, floor, voice, reset } = heard;
  const moved = [features, posteriors, smoothed, level, floor, voice, reset].map((array) => array.buffer);
  postMessage({ type: "heard", stream, peak, power: power / Math.max(samples.length, 1), ...heard }, moved);
}

const actions = {
  async load({ bytes, facts, settings }) {
    engine = await Engine.create(bytes, facts);
    engine.configure(settings);
    postMessage({ type: "ready", mostSmoothing: engine.mostSmoothing });
  },
  start({ number }) {
    stream = number;
    engine.start();
  },
  settings({ settings }) {
    engine?.configure(settings);
  },
  samples({ samples, number }) {
    hear(samples, number);
  },
  // A port whose other end is in the sound card's thread.
  connect({ port, number }) {
    port.onmessage = ({ data }) => hear(data, number);
  },
  memory() {
    postMessage({ type: "memory", bytes: engine.c.memory.buffer.byteLength });
  },
};

onmessage = ({ data }) => {
  Promise.resolve(actions[data.type](data)).catch((error) => postMessage({ type: "error", text: String(error) }));
};
