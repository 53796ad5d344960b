"""A sheet of records in quarantine, with name and reason under each."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.outlines import Outline, draw_outlines
from components.record_validator.records import RefusedRecord
from schema.files import write_whole
from schema.record import Pixels, RecordError, decode

SHOWN: Final = 24
"""Records on a sheet at most."""

_COLUMNS: Final = 6
_SIDE: Final = 200
"""Of a picture, pixels."""
_GAP: Final = 16
_CAPTION: Final = 70
_PAPER, _INK, _PALE, _FRAME, _ALARM = "#ffffff", "#1f2933", "#5c6770", "#c9d0d6", "#a3324b"
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_OUTLINE: Final = (255, 225, 60)
"""Of the mask, RGB: seen on black and on white lungs alike."""


def write_sheet(refused: Sequence[RefusedRecord], path: str) -> None:
    """Write a PNG of records side by side; those that cannot be decoded are crossed."""
    columns = min(_COLUMNS, len(refused))
    rows = -(-len(refused) // columns)
    step_x, step_y = _SIDE + _GAP, _SIDE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), _PAPER)
    for number, record in enumerate(refused):
        row, column = divmod(number, columns)
        _draw(sheet, record, _GAP + column * step_x, _GAP + row * step_y)
    encoded = io.BytesIO()
    sheet.save(encoded, "PNG")
    write_whole(Path(path), encoded.getvalue())


def _draw(sheet: Image.Image, refused: RefusedRecord, left: int, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    box = (left, top, left + _SIDE - 1, top + _SIDE - 1)
    try:
        record = decode(refused.serialized)
    except RecordError:
        draw.line((left, top, *box[2:]), _FRAME, 2)
        draw.line((left, box[3], box[2], top), _FRAME, 2)
    else:
        picture = Image.fromarray(_picture(record.image, record.mask))
        sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
    draw.rectangle(box, outline=_FRAME)
    finding = refused.finding
    name_font, reason_font, detail_font = (ImageFont.load_default(size) for size in (14, 13, 11))
    y = top + _SIDE + 4
    draw.text((left, y), _fit(finding.ref.image_id, name_font), _INK, name_font)
    draw.text((left, y + 18), f"{finding.reason}, {finding.ref.partition.name}", _ALARM, reason_font)
    for number, line in enumerate(textwrap.wrap(finding.detail, 38)[:2]):
        draw.text((left, y + 36 + 13 * number), _fit(line, detail_font), _PALE, detail_font)


def _picture(image: Pixels, mask: Pixels) -> Pixels:
    """Bring an image with the outline of its mask to the sheet's size; uint8 [height, width, 3], RGB."""
    height, width = image.shape
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    lungs = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127
    return draw_outlines(np.asarray(small, np.uint8), Outline(lungs.astype(np.uint8), _OUTLINE))


def _fit(text: str, font: _Font) -> str:
    """Return as much of a line as there is room for."""
    if font.getlength(text) <= _SIDE:
        return text
    while text and font.getlength(text + "...") > _SIDE:
        text = text[:-1]
    return text + "..."
