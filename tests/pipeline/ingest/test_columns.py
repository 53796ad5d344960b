"""Columns of metadata files: which names are slips, and for what."""

import pytest

from pipeline.ingest.columns import COLUMNS, describe_slips, meant_by


@pytest.mark.parametrize(
    ("known", "slips"),
    [
        ("patient_id", ["PatientID", "patient id", "Patient_ID", "Patient ID", "PATIENT-ID", "subject", "SubjectID",
                        "Patient", "patients", "patient_number", "PatientName", "pat_id", "PID", "mrn", "patiend_id",
                        "Patienten-ID", "participant_id", "ID Patient", "case_id", "CaseID", "case_no",
                        "anonymized_patient_id", "hashed_patient_id", "unique_patient_id", "de-identified patient id",
                        "Patient ID (anonymised)", "pseudonym", "anon_id", "medical_record_number", "study_subject",
                        "individual_id", "anonpatientid", "PatientIDs"]),
        ("image", ["Image", "images", "image_name", "Image Index", "filename", "file", "ImagePath", "imge"]),
        ("sex", ["Sex", "gender", "Patient Gender", "PatientSex"]),
        ("age", ["Age", "Patient Age", "age (years)", "age_in_years"]),
        ("view", ["View", "View Position", "views", "projection"]),
        ("finding", ["Finding Labels", "findings", "Diagnosis", "fnding"]),
        ("source", ["Source", "hospital", "data set", "institution"]),
        ("pixel_spacing", ["PixelSpacing", "pixel spacing (mm)", "ImagerPixelSpacing", "spacing", "pixel_spaceing"]),
    ],
)  # fmt: skip
def test_slips(known: str, slips: list[str]) -> None:
    assert {slip: meant_by(slip) for slip in slips} == dict.fromkeys(slips, known)


@pytest.mark.parametrize(
    "name",
    [*COLUMNS, "attribution", "by", "", "id", "page", "stage", "notes", "weight", "Follow-up #", "width", "mask",
     "date", "patient_weight", "offset", "modality", "location", "patient_position", "PatientSize",
     "ImagePositionPatient", "inpatient", "Outpatient", "subjective_score", "Number of patients", "case", "individual",
     "is_pseudonymized", "PatientIdentityRemoved"],
)  # fmt: skip
def test_names_that_are_no_slips(name: str) -> None:
    assert meant_by(name) is None


def test_slips_are_told_where_the_known_column_is_missing() -> None:
    assert describe_slips(["image", "PatientID"]) == "column 'PatientID' is unknown: did you mean 'patient_id'?"
    assert describe_slips(["image", "patient_id", "Patient Name", "notes"]) == ""
    assert describe_slips(["Image", "patient_id"]) == "column 'Image' is unknown: did you mean 'image'?"
    assert describe_slips(["image", "Patient ID", "Gender"]) == (
        "column 'Patient ID' is unknown: did you mean 'patient_id'?; column 'Gender' is unknown: did you mean 'sex'?"
    )
