"""Find parameters for the voice activity detector: python -m kws.tune_vad run=DIR [trials=100]"""

from kws.evaluation.vad.tune import main
from kws.runs import configuration

if __name__ == "__main__":
    configuration.start(main)
