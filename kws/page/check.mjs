// Hears samples with the page's engine, in node: node check.mjs FOLDER SAMPLES OUT
// FOLDER holds engine.js, spotter.json and kws_model.wasm; SAMPLES are float32; OUT gets a float32 row a hop: voice, posteriors.
// Prints the detections as JSON.
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const [, , folder, recording, out] = process.argv;
const { Engine } = await import(`data:text/javascript;base64,${readFileSync(resolve(folder, "engine.js")).toString("base64")}`);
const facts = JSON.parse(readFileSync(resolve(folder, "spotter.json")));
const engine = await Engine.create(readFileSync(resolve(folder, "kws_model.wasm")), facts);
const heard = engine.hear(new Float32Array(readFileSync(recording).buffer.slice(0)));
const rows = new Float32Array(heard.count * (1 + facts.labels.length));
for (let i = 0; i < heard.count; i++) {
  rows[i * (1 + facts.labels.length)] = heard.voice[i];
  rows.set(heard.posteriors.subarray(i * facts.labels.length, (i + 1) * facts.labels.length), i * (1 + facts.labels.length) + 1);
}
writeFileSync(out, rows);
console.log(JSON.stringify(heard.detections.map(({ label, confidence, time }) => [facts.labels[label], time, confidence])));
