"""From volumes to decoder features, causally and bit-reproducibly. These names are the package's seam."""

from realtime.preprocessing.kernels import compiled_signatures
from realtime.preprocessing.preprocessor import PreprocessedVolume, Preprocessor
from realtime.preprocessing.scaling import CausalScaler
from realtime.preprocessing.settings import PreprocessorSettings
from realtime.preprocessing.state import PreprocessorState

__all__ = [
    "CausalScaler", "PreprocessedVolume", "Preprocessor", "PreprocessorSettings", "PreprocessorState",
    "compiled_signatures",
]
