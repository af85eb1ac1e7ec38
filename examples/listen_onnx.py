"""Keywords in a WAV file with numpy and onnxruntime alone: python examples/listen_onnx.py stream.onnx FILE.wav"""

import json
import sys
import wave

import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
facts = model.get_modelmeta().custom_metadata_map
labels, settings = json.loads(facts["labels"]), json.loads(facts["decoder"])
rate, hop = int(facts["sample_rate"]), json.loads(facts["featurizer"])["hop_size"]
with wave.open(sys.argv[2]) as file:
    if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (rate, 2, 1):
        sys.exit(f"This model hears {rate} Hz, mono, 16 bit.")
    samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768

state = {i.name: np.zeros((1, i.shape[1]), np.float32) for i in model.get_inputs() if i.name != "samples"}
outputs = ["log_probabilities", *(f"next_{name}" for name in state)]
words = [i for i, label in enumerate(labels) if label[0] != "_" and label not in (settings["ignored"] or [])]
recent = np.zeros((max(1, round(settings["smoothing"] * rate / hop)), len(words)))
run, length, reported, free = None, 0, False, 0
for t in range(len(samples) // hop):
    heard, *after = model.run(outputs, {"samples": samples[None, t * hop : (t + 1) * hop], **state})
    state = dict(zip(state, after, strict=True))
    recent = np.vstack([recent[1:], np.exp(heard[0, words])])
    score, word = max(zip(recent.mean(0), (labels[i] for i in words), strict=True))
    threshold = settings["threshold"][word] if isinstance(settings["threshold"], dict) else settings["threshold"]
    word = word if score >= threshold else None
    length, reported, run = (length + 1, reported, run) if word == run else (1, False, word)
    if word and length >= settings["consecutive"] and not reported and t >= free:
        print(f"{(t + 1) * hop / rate:.2f} s  {word}  {score:.2f}")
        reported, free = True, t + 1 + round(settings["refractory"] * rate / hop)
