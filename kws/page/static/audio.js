// Sound in and out: the microphone, recordings played aloud, files decoded to the spotter's rate.
import { readWav } from "./wav.js";

const contexts = new Map(); // by rate; 0 is the sound card's own

async function openContext(rate) {
  if (!contexts.has(rate)) {
    const context = new AudioContext({ ...(rate && { sampleRate: rate }), latencyHint: "interactive" });
    await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    contexts.set(rate, context);
  }
  await contexts.get(rate).resume();
  return contexts.get(rate);
}

// The context in which a microphone can be heard: one at the spotter's rate, to which the browser brings whatever the
// sound card has; where a browser refuses that, one at the sound card's rate.
async function sourceOf(stream, rate) {
  const context = await openContext(rate);
  try {
    return [context, context.createMediaStreamSource(stream)];
  } catch (error) {
    if (error.name !== "NotSupportedError") throw error;
    const own = await openContext(0);
    return [own, own.createMediaStreamSource(stream)];
  }
}

// A processor in the sound card's thread, and a port for each of those who want its samples.
function tap(context, listeners, options) {
  const node = new AudioWorkletNode(context, "tap", { numberOfOutputs: 1, outputChannelCount: [1], processorOptions: options });
  for (const listener of listeners) {
    const { port1, port2 } = new MessageChannel();
    listener(port1);
    node.port.postMessage(port2, [port2]);
  }
  return node;
}

// The microphone as it is, without what makes telephone calls pleasant. Returns a function that ends it.
export async function listenToMicrophone(rate, device, listeners) {
  const asItIs = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
  const audio = device ? { ...asItIs, deviceId: { exact: device } } : asItIs;
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const [context, source] = await sourceOf(stream, rate);
  const node = tap(context, listeners, { rate });
  source.connect(node);
  node.connect(context.destination); // silent; a node that leads nowhere is not asked for anything
  return () => {
    node.port.postMessage("stop");
    source.disconnect();
    node.disconnect();
    stream.getTracks().forEach((track) => track.stop());
  };
}

// Plays samples at the spotter's rate; the listeners get the same ones at the same pace. Returns a function that ends it.
export async function play(samples, rate, listeners) {
  const context = await openContext(rate);
  const node = tap(context, listeners, { samples });
  node.connect(context.destination);
  return () => {
    node.port.postMessage("stop");
    node.disconnect();
  };
}

// Microphones by id and name; names are empty until the microphone has been allowed once.
export async function microphones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter(({ kind }) => kind === "audioinput").map(({ deviceId, label }) => ({ id: deviceId, name: label }));
}

// Samples (S,) of any recording that the browser can decode, at the spotter's rate; exact for a WAV that has it.
export async function decode(buffer, rate) {
  const wav = readWav(buffer);
  if (wav && wav.rate === rate) return wav.samples;
  const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(buffer);
  const samples = new Float32Array(decoded.length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    const values = decoded.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) samples[i] += values[i] / decoded.numberOfChannels;
  }
  return samples;
}
