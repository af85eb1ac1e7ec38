"""ELL's model files: read, write, run, edit and draw them, without ELL and without torch.

The Embedded Learning Library compiles such a file to native code for a device. This package is the second half of
the export's parity check, so it shares no arithmetic with the PyTorch side.

    archive      `.ell` text to `Model` and back
    model        the nodes, as dataclasses in the reader's order
    build        featurizer, classifier and VAD models from the steps of a program
    fastgrnn     the ONNX operator that ELL's trainer writes for a FastGRNN
    interpreter  run a model frame by frame, in NumPy
    edit         put a VAD into a recurrent classifier, or change the one it has
    importer     ONNX classifier to `Model`
    onnx_form    the ONNX form that ELL's own importer takes
    graph        a model as DOT text or as a picture
"""
