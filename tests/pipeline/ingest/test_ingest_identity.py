"""Pseudonyms, the key behind them, and that nothing else of a DICOM header comes through."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from medical_files import dicom_dataset, to_bytes
from PIL import Image
from pydicom import Dataset, Sequence
from pydicom.datadict import dictionary_VR
from pydicom.uid import UID

from pipeline.errors import UserError
from pipeline.ingest.formats.base import ImageError
from pipeline.ingest.formats.dicom.image import decode_dicom
from pipeline.ingest.identity import KEY_VARIABLE, load_key, pseudonym
from pipeline.ingest.metadata import Description
from pipeline.ingest.samples import ImageSample, ReadOptions
from schema.record import encode

KEY = b"0123456789abcdef"
MARKER = "XMARKX"

# Of PS3.15 table E.1-1, what names people, places, devices and times.
IDENTIFYING = (
    "AccessionNumber", "AcquisitionComments", "AcquisitionDate", "AcquisitionDateTime", "AcquisitionTime",
    "AdditionalPatientHistory", "AdmissionID", "AdmittingDate", "AdmittingDiagnosesDescription", "Allergies",
    "BranchOfService", "CassetteID", "ConfidentialityConstraintOnPatientDataDescription", "ContentCreatorName",
    "ContentDate", "ContentTime", "ContrastBolusAgent", "CountryOfResidence", "CurrentPatientLocation",
    "DerivationDescription", "DetectorID", "DeviceSerialNumber", "DeviceUID", "EthnicGroup",
    "FrameOfReferenceUID", "GantryID", "ImageComments", "InstanceCreationDate", "InstanceCreationTime",
    "InstanceCreatorUID", "InstitutionAddress", "InstitutionName", "InstitutionalDepartmentName",
    "InsurancePlanIdentification", "IssuerOfPatientID", "MedicalAlerts", "MedicalRecordLocator", "MilitaryRank",
    "NameOfPhysiciansReadingStudy", "Occupation", "OperatorsName", "OtherPatientIDs", "OtherPatientNames",
    "PatientAddress", "PatientBirthDate", "PatientBirthName", "PatientBirthTime", "PatientComments",
    "PatientInstitutionResidence", "PatientMotherBirthName", "PatientName", "PatientReligiousPreference",
    "PatientSize", "PatientState", "PatientTelephoneNumbers", "PatientWeight", "PerformedProcedureStepDescription",
    "PerformedStationAETitle", "PerformingPhysicianName", "PersonName", "PlateID", "PregnancyStatus",
    "ProtocolName", "ReasonForTheRequestedProcedure", "ReferringPhysicianAddress", "ReferringPhysicianName",
    "ReferringPhysicianTelephoneNumbers", "RegionOfResidence", "RequestedProcedureComments",
    "RequestedProcedureDescription", "RequestedProcedureID", "RequestingPhysician", "RequestingService",
    "ResponsibleOrganization", "ResponsiblePerson", "ReviewerName", "ScheduledProcedureStepDescription",
    "SeriesDate", "SeriesDescription", "SeriesInstanceUID", "SeriesTime", "SmokingStatus", "SpecialNeeds",
    "StationName", "StudyComments", "StudyDate", "StudyDescription", "StudyID", "StudyInstanceUID", "StudyTime",
    "TextString", "TimezoneOffsetFromUTC", "VerifyingOrganization",
)  # fmt: skip


def image_of(person: str) -> Dataset:
    """A radiograph whose header has text in all that may identify a person, at all levels."""
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 48)).astype(np.uint16)
    dataset = dicom_dataset(pixels, PatientAge="061Y", PatientSex="M", ViewPosition="AP", PixelSpacing=[0.2, 0.2])
    for keyword in IDENTIFYING:
        if dictionary_VR(keyword) not in ("US", "FD", "FL"):
            dataset.add_new(keyword, "LO", person)  # under its own type, dates and numbers would take no text
    dataset.PatientID = f"{person}-ID"
    dataset.SOPInstanceUID = f"1.2.{person}"
    nested = Dataset()
    nested.PatientID = nested.PatientName = person
    dataset.OtherPatientIDsSequence = dataset.RequestAttributesSequence = Sequence([nested])
    block = dataset.private_block(0x0009, person, create=True)
    block.add_new(1, "LO", person)
    block.add_new(2, "SQ", Sequence([nested]))
    dataset.file_meta.SourceApplicationEntityTitle = person
    dataset.file_meta.ImplementationVersionName = person
    dataset.file_meta.PrivateInformationCreatorUID = UID("1.2.3")
    dataset.file_meta.PrivateInformation = person.encode()
    return dataset


@pytest.fixture
def sample(tmp_path: Path) -> ImageSample:
    """A DICOM image of John Doe, with a mask."""
    (tmp_path / f"{MARKER}.dcm").write_bytes(to_bytes(image_of(MARKER)))
    mask = np.zeros((40, 48), np.uint8)
    mask[10:30, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    description = Description(patient_id="", source="clinic")
    return ImageSample(str(tmp_path), f"{MARKER}.dcm", ("mask.png",), MARKER, description)


def test_nothing_of_a_header_comes_through_but_what_is_allowed(sample: ImageSample) -> None:
    [record] = sample.read(ReadOptions(size=32, patient_key=KEY))
    assert Path(sample.files[0]).read_bytes().count(MARKER.encode()) > len(IDENTIFYING) / 2
    assert MARKER.encode() not in encode(record)
    assert record.patient_id == pseudonym(KEY, f"{MARKER}-ID")
    assert record.image_id == pseudonym(KEY, f"1.2.{MARKER}")
    assert (record.age, record.sex, record.view, record.pixel_spacing) == (61, "male", "AP", 0.2)


@pytest.mark.parametrize(
    "keyword",
    ["PatientAge", "PatientSex", "ViewPosition", "PixelSpacing", "ImagerPixelSpacing", "WindowCenter", "WindowWidth",
     "RescaleSlope", "RescaleIntercept", "VOILUTFunction", "PhotometricInterpretation", "NumberOfFrames", "Rows",
     "BurnedInAnnotation", "PixelPaddingValue", "BitsStored", "TransferSyntaxUID"],
)  # fmt: skip
def test_no_message_quotes_a_header(
    keyword: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = image_of(MARKER)
    if keyword == "TransferSyntaxUID":
        data = to_bytes(dataset).replace(b"1.2.840.10008.1.2.1\0", MARKER.encode().ljust(20))
    else:
        dataset.add_new(keyword, "LO", MARKER)
        dataset.WindowCenter = dataset.get("WindowCenter", 100)
        data = to_bytes(dataset)
    message = ""
    with caplog.at_level(logging.DEBUG):
        try:
            metadata = decode_dicom(data).metadata
        except ImageError as error:
            message = str(error)
        else:
            assert metadata is not None
            assert MARKER not in metadata.sex + metadata.view
    output = "".join(capfd.readouterr())
    assert MARKER not in message + caplog.text + output


@given(text=st.text(), other=st.text())
def test_pseudonyms(text: str, other: str) -> None:
    name = pseudonym(KEY, text)
    assert len(name) == 16
    assert int(name, 16) >= 0
    assert (name == pseudonym(KEY, other)) == (text == other)
    assert name != pseudonym(KEY + b"1", text)


def test_a_pseudonym_is_that_of_rfc_2104() -> None:
    # RFC 4231, test case 2.
    assert pseudonym(b"Jefe", "what do ya want for nothing?") == "5bdcc146bf60754e"


def test_key_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "another key of the environment")
    (tmp_path / "key").write_bytes(KEY + b"\n")
    assert load_key(tmp_path / "key") == KEY


def test_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "0123456789abcdef ")
    assert load_key(None) == KEY
    monkeypatch.delenv(KEY_VARIABLE)
    assert load_key(None) is None


def test_keys_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^cannot read the patient key .*none: No such file or directory$"):
        load_key(tmp_path / "none")
    (tmp_path / "key").write_bytes(b"short\n")
    expected = "the patient key has 5 bytes, which can be guessed: it must have 16 or more"
    with pytest.raises(UserError) as caught:
        load_key(tmp_path / "key")
    assert str(caught.value) == f"{tmp_path / 'key'}: {expected}"
    monkeypatch.setenv(KEY_VARIABLE, "")
    with pytest.raises(UserError, match=r"^LUNGSEG_PATIENT_KEY: the patient key has 0 bytes, "):
        load_key(None)
