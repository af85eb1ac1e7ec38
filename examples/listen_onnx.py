"""Keywords in a WAV file with numpy and onnxruntime alone: python examples/listen_onnx.py stream.onnx FILE.wav"""

import json
import sys
import wave

import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
facts = model.get_modelmeta().custom_metadata_map
if "gate" not in facts:
    sys.exit("This file was written before there was a noise gate; export it again.")
labels, settings, gate = (json.loads(facts[name]) for name in ("labels", "decoder", "gate"))
rate, hop = int(facts["sample_rate"]), json.loads(facts["featurizer"])["hop_size"]
with wave.open(sys.argv[2]) as file:
    if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (rate, 2, 1):
        sys.exit(f"This model hears {rate} Hz, mono, 16 bit.")
    samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768

state = {i.name: np.zeros((1, i.shape[1]), np.float32) for i in model.get_inputs() if i.name != "samples"}
has_voice = "vad" in state
outputs = ["log_probabilities", *(f"next_{name}" for name in state), *(["voice"] if has_voice else [])]
words = [i for i, label in enumerate(labels) if label[0] != "_" and label not in (settings["ignored"] or [])]
recent = np.zeros((max(1, round(settings["smoothing"] * rate / hop)), len(words)))
run, length, reported, free = None, 0, False, 0
background, heard, quiet, voice, lately = np.inf, 0, 0, 0, 0
for t in range(len(samples) // hop):
    block = samples[t * hop : (t + 1) * hop]
    scores, *after = model.run(outputs, {"samples": block[None], **state})
    state = dict(zip(state, after, strict=False))

    # The noise gate: a network must answer something to silence, so what it says counts only of a sound.
    centred = block - block.mean()
    level = np.mean(np.square(centred[1:] + centred[:-1])) / 4
    background = max(min(level, background * gate["growth"]), gate["floor"])
    heard, quiet = (heard + 1, 0) if level > background * gate["rise"] else (heard, quiet + 1)
    heard = 0 if quiet > gate["hold"] else heard
    lately = len(recent) if heard >= gate["attack"] else max(0, lately - 1)  # hops for which the average still holds it

    recent = np.vstack([recent[1:], np.exp(scores[0, words])])
    score, word = max(zip(recent.mean(0), (labels[i] for i in words), strict=True))
    threshold = settings["threshold"][word] if isinstance(settings["threshold"], dict) else settings["threshold"]
    word = word if score >= threshold else None
    length, reported, run = (length + 1, reported, run) if word == run else (1, heard == 0, word)
    if word and length >= settings["consecutive"] and not reported and t >= free and lately:
        print(f"{(t + 1) * hop / rate:.2f} s  {word}  {score:.2f}")
        reported, free = True, t + 1 + round(settings["refractory"] * rate / hop)

    if has_voice and voice > after[-1][0]:  # the model has just reset itself
        background, heard, quiet = np.inf, 0, 0
    voice = after[-1][0] if has_voice else 0
