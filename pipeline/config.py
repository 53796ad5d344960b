"""The configuration of a run: presets, files and `--set`, validated into one frozen object.

>>> config = load_config("cpu", {"train.epochs": 3}, data=Path("data"), root=Path("root"))
>>> config.train.epochs
3
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import yaml
from pydantic import AfterValidator, Field, JsonValue, ValidationError, field_validator, model_validator

from components.augmenter.policy import Copies, Policy, PolicyError, load_policy
from components.data_gate.settings import GateSettings
from components.example_validator.settings import DriftSettings
from components.record_validator.settings import RecordValidationSettings
from modules.evaluation.settings import EvaluateSettings
from modules.network.settings import ModelSettings
from modules.preprocessing.settings import TransformSettings
from modules.training.settings import TrainSettings, TuneSettings
from pipeline.beam.settings import BeamOptionError, BeamSettings
from pipeline.errors import UserError
from pipeline.kubeflow.settings import KubeflowSettings
from pipeline.notify.settings import NotifySettings
from pipeline.root import CONFIG_FILE, NOT_LOCAL, SERVING_DIR, as_given, is_url
from schema.files import write_whole
from schema.settings import Settings
from schema.suggestions import nearest

PRESETS: Final = Path(__file__).with_name("presets")


def _local(path: Path) -> Path:
    if is_url(path):
        raise ValueError(NOT_LOCAL)
    return path.absolute()


Folder = Annotated[Path, AfterValidator(_local)]
"""A folder by its path, made absolute; URLs are refused."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]


class DataSettings(Settings):
    """Where records are read from, and how they are split."""

    root: Folder
    """Folder with `span-N/`, as `lungseg ingest` writes it."""
    span: Annotated[int, Field(ge=0)] | None = None
    """The newest span to read; by default the latest there is."""
    spans: Annotated[int, Field(ge=1)] = 1
    """How many spans to read together, back from the newest."""
    train_buckets: Annotated[int, Field(ge=1)] = 8
    """Patients fall into buckets by a hash: how many of these are for training."""
    eval_buckets: Annotated[int, Field(ge=1)] = 1
    """How many buckets are for validation, by which the best epoch is chosen."""
    test_buckets: Annotated[int, Field(ge=1)] = 1
    """How many buckets are for the test, by which the model is judged."""
    rotation: Annotated[int, Field(ge=0)] = 0
    """By how many buckets the splits are turned round: others are tested on, as many as before."""
    external: dict[Name, Folder] = Field(default={})
    """Test sets of other sources by name: folders as `root`, all of whose spans are only tested on."""

    @model_validator(mode="after")
    def _names_no_split(self) -> "DataSettings":
        for name in self.external:
            if name in ("train", "eval", "test"):
                raise ValueError(f"external set '{name}' has the name of a split of the data: name it otherwise")
        folders = {"the data": self.root} | {f"external set '{name}'": folder for name, folder in self.external.items()}
        names: dict[Path, str] = {}
        for name, folder in folders.items():
            other = names.setdefault(folder.resolve(), name)
            if other != name:
                raise ValueError(
                    f"{name} and {other} are one folder, '{folder}': test sets must hold nothing that is trained on"
                )
        return self


class AugmentSettings(Settings):
    """How copies are made."""

    policy: Policy = Field(default_factory=lambda: load_policy("chest"))
    """The augmentation policy: the name of one that ships with the project, a YAML file, or its content."""
    copies: Copies = Field(default={})
    """Replaces the policy's number of copies for the splits named here."""

    @field_validator("policy", mode="before")
    @classmethod
    def _load(cls, policy: object) -> object:
        return load_policy(policy) if isinstance(policy, str) else policy

    @property
    def effective_policy(self) -> Policy:
        """The policy with `copies` in place of its own."""
        return self.policy.model_copy(update={"copies": {**self.policy.copies, **self.copies}})


class Config(Settings):
    """All that determines a run."""

    name: Name = "lungseg"
    """What the pipeline is called, in its metadata and on Kubeflow."""
    root: Folder
    """Folder that holds everything a run writes; given with `--root`."""
    data: DataSettings
    record_validation: RecordValidationSettings = RecordValidationSettings()
    drift: DriftSettings = DriftSettings()
    gate: GateSettings = GateSettings()
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    transform: TransformSettings = TransformSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    tune: TuneSettings = TuneSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    beam: BeamSettings = BeamSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()
    notify: NotifySettings = NotifySettings()

    @model_validator(mode="after")
    def _searches_what_fits_the_start(self) -> "Config":
        if self.tune.trials and self.train.warm_start and set(self.tune.filters) != {self.model.filters}:
            raise ValueError(
                f"a warm start fits one width alone: set tune.filters to [{self.model.filters}], as model.filters"
            )
        return self

    @model_validator(mode="after")
    def _judges_by_sets_that_there_are(self) -> "Config":
        self.evaluate.check_sets(self.data.external)
        return self

    @property
    def serving_dir(self) -> Path:
        """Where blessed models are pushed to, a numbered folder each."""
        return self.root / SERVING_DIR

    def to_yaml(self) -> str:
        """Write the configuration as a file that `load_config` reads back to an equal one."""
        return str(yaml.safe_dump(_without_unset(self), sort_keys=False, width=120))

    def write(self) -> None:
        """Write the configuration under its root, whole or not at all."""
        write_whole(self.root / CONFIG_FILE, self.to_yaml())


def _without_unset(settings: Settings) -> dict[str, Any]:
    """Dump settings as JSON has them, without fields that are None unless something else is their default."""
    dumped = settings.model_dump(mode="json")
    fields = {name: (field, getattr(settings, name)) for name, field in type(settings).model_fields.items()}
    return {
        name: _dump_value(value, dumped[name])
        for name, (field, value) in fields.items()
        if not (value is None and field.default is None)
    }


def _dump_value(value: object, dumped: Any) -> Any:
    if isinstance(value, Settings):
        return _without_unset(value)
    if isinstance(value, tuple):
        return [_dump_value(item, plain) for item, plain in zip(value, dumped, strict=True)]
    return dumped


def load_config(
    name_or_path: str,
    overrides: Mapping[str, JsonValue],
    *,
    data: Path | None,
    root: Path | None,
    external: Mapping[str, Path] | None = None,
    default_data: Path | None = None,
    default_root: Path = Path("lungseg-run"),
) -> Config:
    """Read a preset or a YAML file and apply the command line's values.

    Args:
        name_or_path: `demo`, `cpu`, `best`, `gpu` or a YAML file.
        overrides: Dotted key -> value.
        data: Folder with `span-N/`; None leaves it to the file.
        root: Folder for everything the run writes; None leaves it to the file.
        external: Folders of external test sets by name; added to those of the file.
        default_data: The folder where neither names one; None demands one.
        default_root: The root where neither names one.

    Raises:
        UserError: A file, key or value is wrong; names it, and the nearest known key.
    """
    values = {"root": default_root, **_read(name_or_path)}
    for key, value in overrides.items():
        if key == "root" or (key == "data.root" and data is not None):
            raise UserError(f"--set {key}: give the folder with --{key.removesuffix('.root')}")
        _assign(values, key, value)
    if root is not None:
        values["root"] = root
    section = values.setdefault("data", {})
    if isinstance(section, dict):
        _set_data(section, data, default_data, external or {})
    return _validate(values)


def override(config: Config, overrides: Mapping[str, JsonValue]) -> Config:
    """Return a configuration with other values.

    Args:
        config: What holds otherwise.
        overrides: Dotted key -> value.

    Raises:
        UserError: A key or value is wrong; names it, and the nearest known key.
    """
    values = _without_unset(config)
    for key, value in overrides.items():
        _assign(values, key, value)
    return _validate(values)


def _validate(values: dict[str, Any]) -> Config:
    try:
        config = Config.model_validate(values)
        config.beam.arguments()
    except (ValidationError, BeamOptionError) as error:
        raise UserError(_explain(error)) from error
    return config


def _set_data(section: dict[str, Any], root: Path | None, default: Path | None, external: Mapping[str, Path]) -> None:
    if root is not None:
        section["root"] = root
    elif default is not None:
        section.setdefault("root", default)
    if external:
        of_file = section.get("external")
        section["external"] = {**of_file, **external} if isinstance(of_file, dict) else dict(external)


def load_beam(overrides: Mapping[str, JsonValue], name_or_path: str | None = None) -> BeamSettings:
    """Read the section `beam` alone, for commands that run no pipeline.

    Args:
        overrides: Dotted key -> value; each key begins with `beam.`.
        name_or_path: A preset or a YAML file, whose other sections are passed over; None for none.

    Raises:
        UserError: A file, key or value is wrong; names it, and the nearest known key.
    """
    of_file = {} if name_or_path is None else _read(name_or_path)
    values = {key: value for key, value in of_file.items() if key == "beam"}
    for key, value in overrides.items():
        if not key.startswith("beam."):
            raise UserError(f"--set {key}: only keys of the section 'beam' count here, such as beam.runner")
        _assign(values, key, value)
    try:
        settings = _BeamAlone.model_validate(values).beam
        settings.arguments()
    except (ValidationError, BeamOptionError) as error:
        raise UserError(_explain(error)) from error
    return settings


class _BeamAlone(Settings):
    beam: BeamSettings = BeamSettings()


def _read(name_or_path: str) -> dict[str, Any]:
    presets = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    path = presets.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise UserError(f"configuration '{name_or_path}' is neither a file nor one of the presets {', '.join(presets)}")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"configuration {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"configuration {path} must hold keys and values, is a {type(values).__name__}")
    return values


def _assign(values: dict[str, Any], key: str, value: JsonValue) -> None:
    *sections, last = key.split(".")
    if not all((*sections, last)):
        raise UserError(f"configuration: '{key}' is no key")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"configuration: {key}: '{section}' is no section")
    values[last] = value


def _explain(error: ValidationError | BeamOptionError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if isinstance(cause := first.get("ctx", {}).get("error"), PolicyError):
        return str(cause)
    if key == "data.root" and first["type"] == "missing":
        return "no data given: name a folder with `--data`"
    if first["type"] == "extra_forbidden":
        without_places = ".".join(part for part in first["loc"] if isinstance(part, str))
        known = nearest(without_places, known_keys(Config), similarity=0)
        return f"configuration: unknown key '{key}'; the nearest known one is '{known}'"
    problem = first["msg"].removeprefix("Value error, ")
    value = as_given(first["input"]) if isinstance(first["input"], Path) else first["input"]
    given = "" if isinstance(value, dict) else f", is {value!r}"
    return f"configuration: {key}: {problem}{given}" if key else f"configuration: {problem}{given}"


def known_keys(kind: Any, prefix: str = "") -> Iterator[str]:
    """List the dotted keys of settings, and of those that are in lists and mappings, without their place there."""
    if isinstance(kind, type) and issubclass(kind, Settings):
        for name, field in kind.model_fields.items():
            yield prefix + name
            yield from known_keys(field.annotation, f"{prefix}{name}.")
    else:
        for argument in get_args(kind):
            yield from known_keys(argument, prefix)
