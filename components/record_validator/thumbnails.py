"""A sheet of records in quarantine, with name and reason under each."""

import io
import textwrap
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tfx.dsl.io import fileio

from components.record_validator.checks.check_records import Refused
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


def write_sheet(refused: Sequence[Refused], path: str) -> None:
    """Writes a PNG of records side by side; those that cannot be decoded are crossed."""
    columns = min(_COLUMNS, len(refused))
    rows = -(-len(refused) // columns)
    step_x, step_y = _SIDE + _GAP, _SIDE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), _PAPER)
    for number, one in enumerate(refused):
        row, column = divmod(number, columns)
        _draw(sheet, one, _GAP + column * step_x, _GAP + row * step_y)
    encoded = io.BytesIO()
    sheet.save(encoded, "PNG")
    with fileio.open(path, "wb") as file:
        file.write(encoded.getvalue())


def _draw(sheet: Image.Image, refused: Refused, left: int, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    box = (left, top, left + _SIDE - 1, top + _SIDE - 1)
    try:
        record = decode(refused.serialized)
    except RecordError:
        draw.line((left, top, *box[2:]), _FRAME, 2)
        draw.line((left, box[3], box[2], top), _FRAME, 2)
    else:
        picture = _picture(record.image, record.mask)
        sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
    draw.rectangle(box, outline=_FRAME)
    name, reason, detail = (ImageFont.load_default(size) for size in (14, 13, 11))
    y = top + _SIDE + 4
    draw.text((left, y), _fit(refused.member.image_id, name), _INK, name)
    draw.text((left, y + 18), f"{refused.finding.reason}, {refused.place.name}", _ALARM, reason)
    for number, text in enumerate(textwrap.wrap(refused.finding.detail, 38)[:2]):
        draw.text((left, y + 36 + 13 * number), _fit(text, detail), _PALE, detail)


def _picture(image: Pixels, mask: Pixels) -> Image.Image:
    """The image with the outline of its mask, brought to the sheet's size."""
    height, width = image.shape
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    lungs = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127, np.uint8)
    outlines, _ = cv2.findContours(lungs, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    colours = cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    return Image.fromarray(cv2.drawContours(colours, outlines, -1, _OUTLINE, 1, cv2.LINE_AA))


def _fit(text: str, font: _Font) -> str:
    """As much of a line as there is room for."""
    if font.getlength(text) <= _SIDE:
        return text
    while text and font.getlength(text + "...") > _SIDE:
        text = text[:-1]
    return text + "..."
