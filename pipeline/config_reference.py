"""Every key of a configuration with its type, range, default and meaning, made from the models.

>>> print(reference())
# Configuration
...
"""

import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.augmenter.policy import Policy
from pipeline.config import Config
from schema.settings import Settings

_HEAD: Final = """# Configuration

Every key, made from the code by `lungseg config --reference`. A configuration is a YAML file with these sections, or
the name of a preset (`demo`, `cpu`, `best`, `gpu`); `--set KEY=VALUE` replaces single values. `lungseg config` prints
what comes of all of them, and every run writes it to `config.yaml` under its root.
"""
_TABLE: Final = "| key | type | default | meaning |\n| --- | --- | --- | --- |"


def reference() -> str:
    """Write the reference as Markdown, a table a section."""
    parts = [_HEAD]
    kinds: dict[str, Any] = {name: field.annotation for name, field in Config.model_fields.items()}
    sections = {name: kind for name, kind in kinds.items() if _is_section(kind)}
    alone = {name: field for name, field in Config.model_fields.items() if name not in sections}
    parts.append("\n".join([_TABLE, *(_row(name, field) for name, field in alone.items())]))
    for name, kind in sections.items():
        parts.append(f"## `{name}`\n\n{_text(kind.__doc__)}\n\n" + "\n".join([_TABLE, *_rows(kind, f"{name}.")]))
        parts += [
            f"### `{inner.__name__}` of `{name}`\n\n{_text(inner.__doc__)}\n\n" + "\n".join([_TABLE, *_rows(inner, "")])
            for inner in _inner_models(kind)
        ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _is_section(kind: Any) -> TypeGuard[type[Settings]]:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _rows(kind: type[Settings], prefix: str) -> Iterator[str]:
    return (_row(prefix + name, field) for name, field in kind.model_fields.items())


def _row(key: str, field: FieldInfo) -> str:
    cells = (f"`{key}`", _describe(field.annotation, field.metadata), _default(field), _text(field.description))
    return " | ".join(["", *(cell.replace("|", r"\|") for cell in cells), ""]).strip()


def _inner_models(kind: type[Settings]) -> list[type[Settings]]:
    """List the models that the fields of a section hold, such as the rules of `evaluate`."""
    found: dict[str, type[Settings]] = {}
    pending: list[Any] = [field.annotation for field in kind.model_fields.values()]
    while pending:
        part = pending.pop(0)
        if _is_section(part):
            if part.__name__ not in found:
                found[part.__name__] = part
                pending += [field.annotation for field in part.model_fields.values()]
        else:
            pending += [argument for argument in get_args(part) if not isinstance(argument, str | int)]
    return list(found.values())


def _describe(kind: Any, metadata: list[Any]) -> str:
    """Write a type and its range in words, such as `number, above 0, at most 1`."""
    return ", ".join([_name(kind), *_limits(metadata)])


_PLAIN: Final = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Path: "folder",
    Any: "any",
}


def _name(kind: Any) -> str:
    if hasattr(kind, "__metadata__"):
        return _describe(kind.__origin__, list(kind.__metadata__))
    if _is_section(kind):
        return f"name, file or `{kind.__name__}`" if kind is Policy else f"`{kind.__name__}`"
    return _generic_name(kind) if get_origin(kind) else _PLAIN[kind]


def _generic_name(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        either = " or ".join(_name(part) for part in arguments if part is not type(None))
        return f"{either}, or `null`" if type(None) in arguments else either
    if origin is dict:
        return f"mapping of {_name(arguments[0])} to {_name(arguments[1])}"
    return (
        f"list of {_name(arguments[0])}" if arguments[-1] is Ellipsis else f"{len(arguments)} x {_name(arguments[0])}"
    )


_LIMITS: Final[dict[type, Callable[[Any], str]]] = {
    Ge: lambda limit: f"at least {limit.ge}",
    Gt: lambda limit: f"above {limit.gt}",
    Le: lambda limit: f"at most {limit.le}",
    Lt: lambda limit: f"below {limit.lt}",
    MinLen: lambda _: "not empty",
}


def _limits(metadata: list[Any]) -> Iterator[str]:
    for limit in metadata:
        if isinstance(limit, FieldInfo):
            yield from _limits(limit.metadata)
        elif type(limit) in _LIMITS:
            yield _LIMITS[type(limit)](limit)
        elif pattern := getattr(limit, "pattern", None):
            yield f"like `{pattern}`"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "`chest`" if field.annotation is Policy else "required"
    return f"`{_plain(field.default)}`"


def _plain(value: Any) -> str:
    """Write a value as YAML has it, on one line."""
    if isinstance(value, Settings):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_plain(item)}' for key, item in value.items())}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return value if isinstance(value, str) and value else json.dumps(value)


def _text(text: str | None) -> str:
    return " ".join((text or "").split())
