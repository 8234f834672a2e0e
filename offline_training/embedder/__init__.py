"""Training of the project's own embedders: sound and words in one space. The only package that imports torch.

::

    settings    how an embedder is made
    truth       what is true of a piece, and the words for it
    pieces      procedural pieces with mixed genres, swapped instruments and held-out combinations
    towers      the networks
    objectives  what they are trained for
    training    the loop
    export      ONNX files with a spec, and proof that they compute the same
    measures    figures of an embedding, each beside its chance
    card        the figures on pieces the networks have not met, as a page
    make        all of that in a row
    clap        a CLAP model in a local folder as an embedder
"""
