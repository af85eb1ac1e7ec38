"""A recording heard block by block, as a microphone would bring it, by the spotter that comes along.

python examples/listen_bundled.py RECORDING
"""

import sys

import soundfile
import soxr
import torch

from kws.spotter import Spotter, StreamingSpotter
from kws.spotters import named

spotter = Spotter.load(named())
streaming = StreamingSpotter(spotter)
samples, rate = soundfile.read(sys.argv[1], dtype="float32", always_2d=True)
samples = torch.from_numpy(soxr.resample(samples[:, 0], rate, spotter.sample_rate))

state = streaming.initial_state(streams=1)
for block in samples.split(1000):  # of any length: what fills no hop yet waits in the state
    heard, state = streaming.stream(block[None], state)
    for detection in heard.detections[0]:
        print(f"{detection.time:.2f} s  {detection.word}  {detection.confidence:.2f}")
