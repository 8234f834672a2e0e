"""Which MR images are left alone, by which rule: pure, on the fields of one image or frame."""

from collections.abc import Mapping

from scanner_bridge.sources.dicom_fields import Fields

RULES: Mapping[str, str] = {
    "moco": "it is the scanner's own motion-corrected copy",
    "phase": "it is a phase, real or imaginary image, not a magnitude",
    "localizer": "it is a localizer",
    "derived": "it was computed from other images",
    "echo": "it is a later echo of the same volume",
    "reference": "it is the single-band reference of a multiband run",
    "unsupported": "its form is not read",
}
"""Rule to sentence: what is left alone, and why."""

_NOT_MAGNITUDE = frozenset((
    "P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "P_FFE", "R_FFE", "I_FFE", "P_SE", "R_SE", "I_SE",
))  # fmt: skip
_COMPUTED = frozenset((
    "ADC", "FA", "TRACEW", "TENSOR", "TENSOR_B0", "DIFFUSION_MAP", "MEAN", "SUBTRACTION", "TTEST", "T-TEST", "GLM",
    "DESIGN MATRIX", "MPR", "MIP", "PROJECTION IMAGE", "PERFUSION", "RELCBF",
))  # fmt: skip
_GE_MAGNITUDE = 0
_REFERENCE = "SINGLE-BAND REFERENCE"  # what CMRR's and Siemens' own multiband sequences write into ImageComments


def rule_against(fields: Fields) -> str | None:
    """Name of the rule that leaves an image alone; None for one that belongs to a run.

    The words are those of ImageType (0008,0008) and FrameType (0008,9007), the complex component of
    (0008,9208), Siemens XA's (0021,1175) and GE's (0043,102F).
    """
    kinds = fields.words("ImageType") + fields.words("FrameType") + fields.words("SiemensImageType")
    words = frozenset(kinds)
    first = kinds[0] if kinds else ""
    component = fields.words("ComplexImageComponent")
    if "MOCO" in words:
        return "moco"
    if words & _NOT_MAGNITUDE or (component and component[0] in _NOT_MAGNITUDE):
        return "phase"
    if fields.integer("GeImageComponent", _GE_MAGNITUDE) != _GE_MAGNITUDE:
        return "phase"
    if words & {"LOCALIZER", "SCOUT"}:
        return "localizer"
    if words & _COMPUTED or (first == "DERIVED" and "MFSPLIT" not in words):  # XA splits frames into such objects
        return "derived"
    if fields.integer("EchoNumbers", 1) > 1:
        return "echo"
    if any(comment.startswith(_REFERENCE) for comment in fields.words("ImageComments")):
        return "reference"
    return None
