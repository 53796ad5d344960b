"""Reads what the Evaluator measured on each image.

>>> read_images(evaluation.uri).loc[0, ["set", "image_id", "dice"]].tolist()
['test', 'p1-0', 0.957]
"""

import io
from pathlib import Path

import pandas as pd

from modules.evaluation.measures import MEASURES
from schema import features
from schema.reports.base import ReportFileError
from schema.reports.evaluation import IMAGES_FILE


def read_images(folder: str) -> pd.DataFrame:
    """Read what was measured on each image.

    Returns:
        A row an image: names and categories as text, measures and the like as numbers.

    Raises:
        ReportFileError: The file is missing, is no table, lacks a column or holds no image.
    """
    path = Path(folder, IMAGES_FILE)
    if not path.exists():
        raise ReportFileError(f"'{path}' is missing: run the component that writes it again")
    # As text first: `NA` is a finding or an identifier here, and not a gap.
    try:
        images = pd.read_csv(io.StringIO(path.read_text()), dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ReportFileError(f"'{path}' is no table: run the Evaluator again") from error
    numbers = [features.IS_AUGMENTED, features.AGE, features.LUNG_FRACTION, *MEASURES]
    missing = [name for name in ("set", "original_id", *features.TEXT, *numbers) if name not in images.columns]
    if missing or images.empty:
        problem = f"has no column '{missing[0]}'" if missing else "holds no image"
        raise ReportFileError(f"'{path}' {problem}: run the Evaluator again")
    numbers += [name for name in images.columns if name.removeprefix("baseline_") in MEASURES and name not in numbers]
    return images.assign(**{name: pd.to_numeric(images[name], errors="coerce") for name in numbers})
