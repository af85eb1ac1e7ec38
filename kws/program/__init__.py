"""What a spotter computes for one hop, said once: a list of typed steps from which every file is written."""

from kws.program.program import Chain, Program, State
from kws.program.steps import FEATURES, SAMPLES, VOICE, Step

__all__ = ["FEATURES", "SAMPLES", "VOICE", "Chain", "Program", "State", "Step"]
