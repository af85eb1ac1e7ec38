// What drive.c does, with a model in WebAssembly.
//     node drive.mjs kws_model.wasm in out
import { readFileSync, writeFileSync } from "node:fs";

const [, , path, from, to] = process.argv;
const nothing = new Proxy({}, { get: () => () => 52 });
const { instance } = await WebAssembly.instantiate(readFileSync(path), { wasi_snapshot_preview1: nothing });
const c = instance.exports;
c._initialize?.();

const NETWORK = 1; // of kws_part
const [hop, labels] = [1, 2].map((which) => c.kws_library_number(which));
const state = c.malloc(c.kws_library_state_bytes()), input = c.malloc(4 * hop), totals = c.malloc(4 * labels);
const given = readFileSync(from), made = [];
c.kws_init(state);
for (let at = 0; at < given.length; at += 1 + 4 * hop) {
  if (given[at]) c.kws_reset(state, NETWORK);
  new Uint8Array(c.memory.buffer, input, 4 * hop).set(given.subarray(at + 1, at + 1 + 4 * hop));
  c.kws_process_float(state, input, 0);
  c.kws_library_totals(state, totals);
  made.push(...new Int32Array(c.memory.buffer, totals, labels));
}
writeFileSync(to, new Int32Array(made));
