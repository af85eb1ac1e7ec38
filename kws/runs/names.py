"""What the files of a run directory are called."""

CONFIG = "config.yaml"  # the whole configuration, resolved
COMPOSITION = ".composition.yaml"  # the same before it was resolved: what resume= goes on with
OVERRIDES = "overrides.yaml"  # the command line
SPOTTER = "spotter.ckpt"
RESULTS = "results.json"
EVALUATION = "evaluation.json"
EVALUATIONS = "evaluations"  # those of other corpora and splits, a folder each
REPORT = "evaluation.html"
EXPORTS = "exports"
INT8 = "c_int8/int8.npz"  # below exports/: the network in integers
ERROR = "error.txt"  # of a sweep's job that failed: the sentence
MODES = ("reset", "never", "vad")  # what evaluation.json calls the streaming modes, see kws.evaluation.stream.modes
