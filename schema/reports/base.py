"""The base of all reports: a model with the name of its file, written whole and read with errors of one line.

>>> class Weather(Report):
...     FILE: ClassVar = "weather.json"
...     degrees: float
>>> Weather(degrees=3.5).write(folder)
>>> Weather.read(folder).degrees
3.5
"""

import json
import os
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from schema.files import write_whole


class ReportFileError(ValueError):
    """A report that is missing, damaged or of another version; the message is one line that says what to do."""


class Part(BaseModel):
    """A frozen part of a report. Numbers that are not finite are written as null."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Report(Part):
    """A report, which is the whole content of one JSON file.

    A field that is added later has a default, so that older files stay readable. Whoever changes the meaning of a field
    raises `FORMAT`, and readers of this version refuse files of a later one.
    """

    FILE: ClassVar[str]
    """Name of the file in the folder of whoever writes it."""
    FORMAT: ClassVar[int] = 1
    """The latest format that this code reads and the one that it writes."""

    format_version: int = 1
    """Of the file; files from before there were formats have none, and are read as the first."""

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write the report into a folder, whole or not at all."""
        content = self.model_copy(update={"format_version": self.FORMAT})
        write_whole(Path(folder) / self.FILE, content.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Self:
        """Read the report that lies in a folder.

        Raises:
            ReportFileError: There is none, it is damaged, or it was written by another version of this code.
        """
        path = Path(folder) / cls.FILE
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise ReportFileError(f"'{path}' is missing: run the component that writes it again") from error
        return cls.parse(content, path)

    @classmethod
    def parse(cls, content: str | bytes, path: str | os.PathLike[str]) -> Self:
        """Parse the content of a file.

        Args:
            content: JSON.
            path: Where it comes from, for messages.

        Raises:
            ReportFileError: It is damaged, or was written by another version of this code.
        """
        try:
            values: Any = json.loads(content)
        except ValueError as error:
            raise ReportFileError(f"'{path}' is no JSON: run the component that wrote it again") from error
        version = values.get("format_version", 1) if isinstance(values, dict) else 1
        if not isinstance(version, int) or version > cls.FORMAT:
            raise ReportFileError(
                f"'{path}' has format {version}, of which this version of lungseg knows nothing: "
                "use the version that wrote it"
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or cls.__name__
            raise ReportFileError(
                f"'{path}', '{where}': {first['msg']}: run the component that wrote it again"
            ) from error
