"""DICOM objects written with pydicom from known voxels, as scanners that no recorded series here is from write them.

All of them are synthetic. Conventions: DICOM PS3.3 (enhanced MR, C.8.13), the makers' private fields as dcm2niix's
notes and nibabel's readers have them.
"""

import gzip
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

CLASSIC, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
N_VOLUMES, N_SLICES, ROWS, COLUMNS = 4, 6, 10, 8
SPACING_MM, GAP_MM = (2.5, 3.0), 4.0
ROW = np.array([np.cos(0.2), np.sin(0.2), 0.0])
COLUMN = np.cross(np.array([0.1, -0.3, 1.0]) / np.linalg.norm([0.1, -0.3, 1.0]), ROW)
COLUMN = COLUMN - (COLUMN @ ROW) * ROW
COLUMN /= np.linalg.norm(COLUMN)
NORMAL = np.cross(ROW, COLUMN)
CORNER_MM = np.array([-60.0, -45.0, 12.0])
VOXELS = np.random.default_rng(11).integers(0, 4000, (N_VOLUMES, N_SLICES, ROWS, COLUMNS)).astype("<u2")
"""Volume, slice along the normal, row, column."""


def position_mm(slice_number: int) -> NDArray[np.float64]:
    return np.round(CORNER_MM + slice_number * GAP_MM * NORMAL, 6)


def base(sop_class: str, uid: str, **fields: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.{uid}"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.3.900", 9
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def private(dataset: Dataset, group: int, creator: str, *elements: tuple[int, str, Any]) -> None:
    block = dataset.private_block(group, creator, create=True)
    for element, representation, value in elements:
        block.add_new(element, representation, value)


def written(dataset: Dataset, pixels: NDArray[Any]) -> bytes:
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def place(dataset: Dataset, slice_number: int) -> None:
    dataset.ImagePositionPatient = [f"{part:.6f}" for part in position_mm(slice_number)]
    dataset.ImageOrientationPatient = [f"{part:.10f}"[:16] for part in (*ROW, *COLUMN)]
    dataset.PixelSpacing, dataset.SpacingBetweenSlices = list(SPACING_MM), GAP_MM


def xa_classic_slice(volume: int, number: int) -> bytes:
    """Siemens XA, exported as classic objects: frames split, volumes numbered as acquisitions."""
    instance = volume * N_SLICES + number + 1
    dataset = base(CLASSIC, str(instance), Manufacturer="Siemens Healthineers", RepetitionTime=800)
    dataset.ImageType = ["DERIVED", "PRIMARY", "M", "MFSPLIT"]
    dataset.InstanceNumber, dataset.AcquisitionNumber = instance, volume + 1
    dataset.AcquisitionTime = f"235959.{500000 + 100000 * (number % 3):06d}"
    place(dataset, number)
    return written(dataset, VOXELS[volume, number])


def ge_slice(
    volume: int, number: int, *, bands: int = 1, delay_s: float = 0.0, release: str = "28.0_R01", order: str = "1"
) -> bytes:
    """GE: a slice per object, counted through the run; multiband and group delay in private fields."""
    instance = volume * N_SLICES + number + 1
    dataset = base(CLASSIC, str(instance), Manufacturer="GE MEDICAL SYSTEMS", RepetitionTime=1200)
    dataset.SoftwareVersions = ["28", "LX", f"MR Software release:DV{release}"]
    dataset.InstanceNumber, dataset.NumberOfTemporalPositions = instance, N_VOLUMES
    dataset.ImagesInAcquisition = N_SLICES * N_VOLUMES  # some releases count all of them
    place(dataset, number)
    private(dataset, 0x0021, "GEMS_RELA_01", (0x4F, "SS", N_SLICES), (0x5E, "DS", f"{0.1 * number:.4f}"))
    multiband = (0xB6, "LO", [str(bands), "4", "19"])
    private(dataset, 0x0043, "GEMS_PARM_01", (0x2F, "SS", 0), (0x7C, "FL", delay_s), multiband)
    if order:
        block = gzip.compress(f'set NOSLC "6"\nset SLICEORDER "{order}"\n'.encode(), mtime=0)
        private(dataset, 0x0025, "GEMS_SERS_01", (0x1B, "OB", len(block).to_bytes(4, "little") + block))
    return written(dataset, VOXELS[volume, number])


def philips_slice(volume: int, number: int, *, slice_major: bool = True, named: bool = True) -> bytes:
    """Philips classic: instances counted slice by slice, or volume by volume; two scales."""
    instance = number * N_VOLUMES + volume if slice_major else volume * N_SLICES + number
    dataset = base(CLASSIC, str(instance + 1), Manufacturer="Philips Medical Systems", RepetitionTime=2000)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]
    dataset.InstanceNumber, dataset.NumberOfTemporalPositions = instance + 1, N_VOLUMES
    dataset.TriggerTime = f"{volume * 2000.4:.1f}"
    if named:
        dataset.TemporalPositionIdentifier = volume + 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1.5, -3
    place(dataset, number)
    private(dataset, 0x2001, "Philips Imaging DD 001", (0x18, "SL", N_SLICES))
    private(dataset, 0x2005, "Philips MR Imaging DD 001", (0x0E, "FL", 0.25))
    return written(dataset, VOXELS[volume, number])


def plain_slice(volume: int, number: int) -> bytes:
    """A scanner whose headers do not say how many slices a volume has."""
    instance = volume * N_SLICES + number + 1
    dataset = base(CLASSIC, str(instance), Manufacturer="CANON_MEC", RepetitionTime=1000, InstanceNumber=instance)
    dataset.TemporalPositionIndex = volume + 1
    place(dataset, number)
    return written(dataset, VOXELS[volume, number])


def enhanced(
    volumes: list[int], *, maker: str = "Philips Medical Systems", with_phase: bool = False, timed: str = "index",
    slopes: list[float] | None = None, scale_slope: float = 0.0,
) -> bytes:
    """An enhanced object of some volumes, its frames slice by slice as Philips orders them.

    `timed`: ``index`` states TemporalPositionIndex, ``dimension`` only the dimension index, ``none`` neither.
    """  # fmt: skip
    dataset = base(ENHANCED, "-".join(map(str, volumes)).replace("-", ".") + ".7", Manufacturer=maker)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "FMRI", "NONE"]
    dataset.InstanceNumber = volumes[0] + 1 if len(volumes) == 1 else 1
    dataset.NumberOfTemporalPositions = N_VOLUMES
    shared = Dataset()
    shared.MRTimingAndRelatedParametersSequence = Sequence([_item(RepetitionTime=1500)])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.DimensionIndexSequence = Sequence([_item(DimensionIndexPointer=tag) for tag in (0x00209057, 0x00209128)])
    frames, pixels = [], []
    components = ["MAGNITUDE", "PHASE"] if with_phase else ["MAGNITUDE"]
    for number in range(N_SLICES):
        for volume in volumes:
            for component in components:
                slope = slopes[number] if slopes else 1.0
                stated = 0 if maker == "SIEMENS" and len(volumes) == 1 else volume
                frames.append(_frame(stated, number, component, timed, slope))
                if scale_slope:
                    hidden = Dataset()
                    private(hidden, 0x2005, "Philips MR Imaging DD 001", (0x0E, "FL", scale_slope))
                    hidden.ImagePositionPatient = [0, 0, 0]  # Philips states a second position there: not the slice's
                    private(frames[-1], 0x2005, "Philips MR Imaging DD 005", (0x0F, "SQ", Sequence([hidden])))
                pixels.append(VOXELS[volume, number] if component == "MAGNITUDE" else 4095 - VOXELS[volume, number])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.NumberOfFrames = len(frames)
    return written(dataset, np.stack(pixels))


def _frame(volume: int, number: int, component: str, timed: str, slope: float) -> Dataset:
    frame = Dataset()
    frame.MRImageFrameTypeSequence = Sequence([_item(
        FrameType=["ORIGINAL", "PRIMARY", "FMRI", "NONE"], ComplexImageComponent=component)])  # fmt: skip
    content = _item(InStackPositionNumber=number + 1)
    if timed == "index":
        content.TemporalPositionIndex = volume + 1
    if timed != "none":
        content.DimensionIndexValues = [number + 1, volume + 1]
    frame.FrameContentSequence = Sequence([content])
    where = Dataset()
    place(where, number)
    frame.PlanePositionSequence = Sequence([_item(ImagePositionPatient=where.ImagePositionPatient)])
    frame.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=where.ImageOrientationPatient)])
    frame.PixelMeasuresSequence = Sequence([_item(PixelSpacing=where.PixelSpacing, SliceThickness=GAP_MM)])
    frame.PixelValueTransformationSequence = Sequence([_item(RescaleSlope=slope, RescaleIntercept=0)])
    return frame


def _item(**fields: Any) -> Dataset:
    item = Dataset()
    for name, value in fields.items():
        if name == "DimensionIndexPointer":
            item.add_new(0x00209165, "AT", value)
        else:
            setattr(item, name, value)
    return item


def changed(content: bytes, **fields: Any) -> bytes:
    """The same object with some header fields changed, or removed where the value is None."""
    dataset = pydicom.dcmread(BytesIO(content))
    for name, value in fields.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    file = BytesIO()
    dataset.save_as(file)
    return file.getvalue()
