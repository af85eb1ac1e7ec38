// Hears a file of 16-bit samples with a model in WebAssembly; prints what it said as JSON.
//     node hear.mjs kws_model.wasm samples.raw
import { readFileSync } from "node:fs";

const [, , path, recording] = process.argv;
// A model asks nothing of the system; what the C library may ask for answers that there is nothing.
const nothing = new Proxy({}, { get: () => () => 52 });
const { instance } = await WebAssembly.instantiate(readFileSync(path), { wasi_snapshot_preview1: nothing });
const c = instance.exports;
c._initialize?.();

const samples = new Int16Array(readFileSync(recording).buffer.slice(0));
const bytes = c.kws_library_state_bytes();
const [hop, labels] = [1, 2].map((which) => c.kws_library_number(which));
const state = c.malloc(bytes), input = c.malloc(2 * samples.length), output = c.malloc(4 * labels);
const detections = c.malloc(c.kws_library_detection_bytes() * 100);
new Int16Array(c.memory.buffer, input, samples.length).set(samples);

const rows = [], voice = [];
c.kws_init(state);
for (let hopped = 0; hopped + hop <= samples.length; hopped += hop) {
  voice.push(c.kws_process(state, input + 2 * hopped, output));
  rows.push([...new Float32Array(c.memory.buffer, output, labels)]);
}

c.kws_init(state);
const count = c.kws_hear(state, input, samples.length, detections, 100);
const view = new DataView(c.memory.buffer);
const found = [];
for (let i = 0; i < count; i++) {
  const at = detections + i * c.kws_library_detection_bytes();
  const text = new Uint8Array(c.memory.buffer, c.kws_library_label(view.getInt32(at, true)));
  const word = new TextDecoder().decode(text.slice(0, text.indexOf(0)));
  found.push([word, Number(view.getBigUint64(at + 8, true)), view.getFloat32(at + 4, true)]);
}
console.log(JSON.stringify({ bytes, rows, voice, found, imports: WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(path))) }));
