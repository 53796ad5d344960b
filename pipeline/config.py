"""The configuration of a run: presets, files and `--set`, validated into one frozen object.

>>> config = load_config("cpu", {"train.epochs": "3"}, data=Path("data"), root=Path("root"))
>>> config.train.epochs
3
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from components.augmenter.policy import Copies, Policy, PolicyError, load_policy
from components.data_gate.settings import GateSettings
from components.example_validator.settings import ExampleValidatorSettings
from components.record_validator.settings import ValidateSettings
from modules.settings import EvaluateSettings, ModelSettings, Settings, TrainSettings, TuneSettings
from pipeline.beam import BeamOptionError, BeamSettings
from pipeline.errors import UserError
from pipeline.kubeflow.settings import KubeflowSettings

PRESETS = Path(__file__).with_name("presets")


class DataSettings(Settings):
    """Where records are read from."""

    root: Path
    """Folder with `span-N/`, as `lungseg ingest` writes it."""
    span: Annotated[int, Field(ge=0)] | None = None
    """The newest span to read; by default the latest there is."""
    spans: Annotated[int, Field(ge=1)] = 1
    """How many to read together, back from the newest."""
    train_buckets: Annotated[int, Field(ge=1)] = 8
    """Of the buckets that a hash of the patient falls into, those for training."""
    eval_buckets: Annotated[int, Field(ge=1)] = 1
    test_buckets: Annotated[int, Field(ge=1)] = 1
    external: dict[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")], Path] = Field(default={})
    """Test sets of other sources by name: folders as `root`, all of whose spans are only tested on."""

    @field_validator("external")
    @classmethod
    def _absolute(cls, external: dict[str, Path]) -> dict[str, Path]:
        return {name: folder.absolute() for name, folder in external.items()}

    @model_validator(mode="after")
    def _names_no_split(self) -> "DataSettings":
        for name in self.external:
            if name in ("train", "eval", "test"):
                msg = f"external set '{name}' has the name of a split of the data: name it otherwise"
                raise ValueError(msg)
        folders = {"the data": self.root, **{f"external set '{name}'": one for name, one in self.external.items()}}
        names: dict[Path, str] = {}
        for name, folder in folders.items():
            other = names.setdefault(folder.resolve(), name)
            if other != name:
                msg = f"{name} and {other} are one folder, '{folder}': test sets must hold nothing that is trained on"
                raise ValueError(msg)
        return self


class AugmentSettings(Settings):
    """How copies are made."""

    policy: str = "chest"
    """Name of a policy that ships with the project, or a YAML file."""
    copies: Copies = Field(default={})
    """Replaces the policy's number of copies for the splits named here."""

    def resolve(self) -> Policy:
        """Reads the policy and applies `copies`; raises PolicyError or ValidationError."""
        policy = load_policy(self.policy).model_dump()
        return Policy.model_validate({**policy, "copies": {**policy["copies"], **self.copies}})


class Config(Settings):
    """All that determines a run."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")] = "lungseg"
    """Of the pipeline."""
    root: Path
    """Folder that holds everything a run writes."""
    data: DataSettings
    records: ValidateSettings = ValidateSettings()
    statistics: ExampleValidatorSettings = ExampleValidatorSettings()
    gate: GateSettings = GateSettings()
    augment: AugmentSettings = AugmentSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    tune: TuneSettings = TuneSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    beam: BeamSettings = BeamSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()

    @model_validator(mode="after")
    def _searches_what_fits_the_start(self) -> "Config":
        if self.tune.trials and self.train.warm_start and set(self.tune.filters) != {self.model.filters}:
            msg = f"a warm start fits one width alone: set tune.filters to [{self.model.filters}], as model.filters"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _judges_by_sets_that_there_are(self) -> "Config":
        for rule in self.evaluate.rules:
            name = rule.slice.get("set", "test")
            if name != "test" and name not in self.data.external:
                where = f"a rule on {rule.metric} is for external set '{name}', which is not given"
                msg = f"{where}: add --external {name}=DIR"
                raise ValueError(msg)
        return self

    @property
    def serving_dir(self) -> Path:
        """Where blessed models are pushed to, a numbered folder each."""
        return self.root / "serving"


def load_config(
    name_or_path: str,
    overrides: Mapping[str, str],
    *,
    data: Path | None,
    root: Path,
    external: Mapping[str, Path] | None = None,
) -> Config:
    """Reads a preset or a YAML file and applies the command line's values.

    Args:
        name_or_path: `demo`, `cpu`, `best`, `gpu` or a YAML file.
        overrides: dotted key -> YAML value, as given by `--set`.
        data: folder with `span-N/`; None leaves it to the file.
        root: folder for everything the run writes.
        external: folders of external test sets by name; added to those of the file.

    Raises:
        UserError: a file, key or value is wrong; names it, and the nearest known key.
    """
    values = _read(name_or_path)
    for key, text in overrides.items():
        if key == "root" or (key == "data.root" and data is not None):
            msg = f"--set {key}: give the folder with --{key.removesuffix('.root')}"
            raise UserError(msg)
        _assign(values, key, text)
    values["root"] = root.absolute()
    section = values.setdefault("data", {})
    if isinstance(section, dict):
        if data is not None:
            section["root"] = data.absolute()
        if external:
            of_file = section.get("external")
            section["external"] = {**of_file, **external} if isinstance(of_file, dict) else dict(external)
    try:
        config = Config.model_validate(values)
        config.augment.resolve()
        config.beam.arguments()
    except (ValidationError, PolicyError, BeamOptionError) as error:
        raise UserError(_explain(error)) from error
    return config


def load_beam(overrides: Mapping[str, str]) -> BeamSettings:
    """The section `beam` alone, for commands that run no pipeline.

    Args:
        overrides: dotted key -> YAML value, as given by `--set`; each key begins with `beam.`.

    Raises:
        UserError: a key or value is wrong; names it, and the nearest known key.
    """
    values: dict[str, Any] = {}
    for key, text in overrides.items():
        if not key.startswith("beam."):
            msg = f"--set {key}: only keys of the section 'beam' count here, such as beam.runner"
            raise UserError(msg)
        _assign(values, key, text)
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
        msg = f"configuration '{name_or_path}' is neither a file nor one of the presets {', '.join(presets)}"
        raise UserError(msg)
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"configuration {path} is no YAML: {' '.join(str(error).split())}"
        raise UserError(msg) from error
    if not isinstance(values, dict):
        msg = f"configuration {path} must hold keys and values, is a {type(values).__name__}"
        raise UserError(msg)
    return values


def _assign(values: dict[str, Any], key: str, text: str) -> None:
    *sections, last = key.split(".")
    if not all((*sections, last)):
        msg = f"--set {key}={text}: '{key}' is no key"
        raise UserError(msg)
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            msg = f"--set {key}: '{section}' is no section"
            raise UserError(msg)
    try:
        # YAML reads 1e-3 as text; JSON-like numbers are what a user means.
        value = yaml.safe_load(text)
        values[last] = float(value) if isinstance(value, str) and _is_number(value) else value
    except yaml.YAMLError as error:
        msg = f"--set {key}: '{text}' is no YAML value"
        raise UserError(msg) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _explain(error: ValidationError | PolicyError | BeamOptionError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if key == "data.root" and first["type"] == "missing":
        return "no data given: name a folder with `--data`"
    if first["type"] == "extra_forbidden":
        known = _known_keys(Config)
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        return f"configuration: unknown key '{key}'; the nearest known one is '{nearest[0]}'"
    problem = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], dict) else f", is {first['input']!r}"
    return f"configuration: {key}: {problem}{given}" if key else f"configuration: {problem}{given}"


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += _known_keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
