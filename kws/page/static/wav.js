// WAV files: 16-bit and float samples are read as they are, so that nothing between file and engine changes a bit.

// Rate and samples (S,) in [-1, 1] of a WAV, channels averaged; null where it is of another kind.
export function readWav(buffer) {
  const view = new DataView(buffer);
  const name = (at) => String.fromCharCode(...new Uint8Array(buffer, at, 4));
  if (buffer.byteLength < 44 || name(0) !== "RIFF" || name(8) !== "WAVE") return null;
  let format = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const size = Math.min(view.getUint32(at + 4, true), buffer.byteLength - at - 8);
    if (name(at) === "fmt ") {
      let kind = view.getUint16(at + 8, true);
      if (kind === 0xfffe && size >= 26) kind = view.getUint16(at + 32, true); // extensible: the kind lies further on
      format = { kind, channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true), bits: view.getUint16(at + 22, true) };
    }
    if (name(at) === "data" && format) return samplesOf(buffer, at + 8, size, format);
    at += 8 + size + (size % 2);
  }
  return null;
}

function samplesOf(buffer, at, size, { kind, channels, rate, bits }) {
  const isShort = kind === 1 && bits === 16;
  const isFloat = kind === 3 && bits === 32;
  if (!channels || !(isShort || isFloat)) return null;
  const bytes = bits / 8;
  const frames = Math.floor(size / (bytes * channels));
  const values = isShort ? new Int16Array(buffer.slice(at, at + frames * channels * bytes)) : new Float32Array(buffer.slice(at, at + frames * channels * bytes));
  const samples = new Float32Array(frames);
  for (let i = 0; i < frames; i++) {
    let sum = 0;
    for (let j = 0; j < channels; j++) sum += values[i * channels + j];
    samples[i] = sum / channels / (isShort ? 32768 : 1);
  }
  return { rate, samples };
}

// A 16-bit WAV, as an ArrayBuffer.
export function writeWav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, said) => [...said].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(x * 32768))), true));
  return view.buffer;
}
