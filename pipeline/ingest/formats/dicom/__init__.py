"""Reads radiographs and CT slices from DICOM files."""
