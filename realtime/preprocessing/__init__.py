"""From volumes to decoder features, causally and bit-reproducibly. These names are the package's seam."""

from realtime.preprocessing.kernels import compiled_signatures
from realtime.preprocessing.preprocessor import PreprocessedVolume, Preprocessor
from realtime.preprocessing.scaling import CausalScaler
from realtime.preprocessing.settings import PreprocessorSettings
from realtime.preprocessing.state import PreprocessorState
from realtime.preprocessing.tissues import TISSUES, checked_tissues

__all__ = [
    "TISSUES", "CausalScaler", "PreprocessedVolume", "Preprocessor", "PreprocessorSettings", "PreprocessorState",
    "checked_tissues", "compiled_signatures",
]
