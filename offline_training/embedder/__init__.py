"""Training of the project's own embedders: sound and words in one space. The only package that imports torch.

::

    truth       what is true of a piece, and the words for it
    pieces      procedural pieces with mixed genres, swapped instruments and held-out combinations
    towers      the networks
    objectives  what they are trained for
    training    the loop
    card        figures on pieces the networks have not met
    export      ONNX files with a spec, and proof that they compute the same
    clap        a CLAP model in a local folder as an embedder
"""
