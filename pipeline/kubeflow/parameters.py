"""What can be chosen anew for each run on Kubeflow: declared when the pipeline is compiled, applied as a step starts.

TFX packs settings into JSON, into which Kubeflow cannot put a parameter. So a step gets the parameter beside its own
properties, and the entry point puts the value where it belongs.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic import ValidationError

from modules.evaluation.settings import EvaluateSettings
from pipeline.config import Config
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.study.plan import StudyPlan

TEXT: Final = "STRING"
INTEGER: Final = "NUMBER_INTEGER"
SWITCH: Final = "BOOLEAN"
"""As Kubeflow names types."""
_FIRST: Final = "ChangeDetector"


@dataclass(frozen=True)
class RunParameter:
    """One parameter of a run.

    Attributes:
        name: In Kubeflow.
        kind: `TEXT`, `INTEGER` or `SWITCH`.
        description: Shown to whoever starts a run.
        default: Of a configuration.
        places: By component, the property that holds the value, and the keys inside where that is JSON. ChangeDetector,
            the first step, is among them always: it refuses a wrong value before anything is done, and knows what a
            run would do otherwise than the last.
        convert: From what Kubeflow hands over to what is put there; None leaves the property as it was compiled.
        forms: By component, what is put there instead, where that is of another form.
        unfit: Why a study has no such parameter; empty: it has, unless an arm sets `key`.
        key: Of the configuration, dotted, which the parameter sets.
    """

    name: str
    kind: str
    description: str
    default: Callable[[Config], str | int]
    places: Mapping[str, tuple[str, ...]]
    convert: Callable[[Any], Any]
    forms: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    unfit: str = ""
    key: str = ""


def parameters_of(plan: "StudyPlan | None") -> list[RunParameter]:
    """Return the parameters that a run has, or those of a study, for all of whose arms a parameter holds."""
    if plan is None:
        return list(RUN_PARAMETERS)
    set_by_arms = {key for arm in plan.arms for key in arm.settings}
    return [parameter for parameter in RUN_PARAMETERS if not parameter.unfit and parameter.key not in set_by_arms]


def why_unfit(name: str) -> str | None:
    """Say why a study does not declare a parameter that runs have; None where runs have none of this name."""
    reasons = {parameter.name: parameter.unfit or f"an arm sets {parameter.key} itself" for parameter in RUN_PARAMETERS}
    return reasons.get(name)


def apply_parameters(component: str, properties: dict[str, Any]) -> None:
    """Take the run's parameters out of a step's properties and put their values where they belong, in place.

    Args:
        component: Kind of the step, such as `Trainer`.
        properties: What Kubeflow gives the step, by name.

    Raises:
        UserError: A value is wrong, or does not fit what was compiled.
    """
    for parameter in RUN_PARAMETERS:
        if component in parameter.places and parameter.name in properties:
            value = parameter.convert(properties.pop(parameter.name))
            if value is not None:
                form = parameter.forms.get(component, lambda as_it_is: as_it_is)
                _put(properties, parameter.places[component], form(value))
    if component == _FIRST:
        _check_sets(json.loads(properties["settings"]))


def _put(properties: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    name, *keys = place
    if not keys:
        properties[name] = value
        return
    settings = json.loads(properties[name])
    section = settings
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    properties[name] = json.dumps(settings)


def _check_sets(settings: Mapping[str, Any]) -> None:
    """Raise UserError where ChangeDetector's settings have rules for external sets that they do not name."""
    rules = settings["run"]["evaluate"]["rules"]
    try:
        EvaluateSettings.model_validate({"rules": rules}).check_sets(settings["external"])
    except ValueError as error:
        raise UserError(f"thresholds: {error}, and compile the pipeline again") from error


def _whole(name: str, minimum: int, below: float = math.inf) -> Callable[[float], int]:
    def convert(value: float) -> int:
        if value < minimum:
            raise UserError(f"parameter {name} is {value:.0f}: must be {minimum} or more")
        if value >= below:
            raise UserError(f"parameter {name} is {value:.0f}: must be below {below}")
        return int(value)

    return convert


def _newest_span(span: float) -> int | None:
    return _whole("span", 0)(span) or None


def _range_of(span: int) -> str:
    """TFX knows the latest span, or a range; of one span, for it reads no more."""
    return json.dumps({"static_range": {"start_span_number": span, "end_span_number": span}})


def _read_rules(file: str) -> list[dict[str, Any]] | None:
    from tfx.dsl.io import fileio

    if not file:
        return None
    try:
        if not fileio.exists(file):
            raise FileNotFoundError
        with fileio.open(file, "r") as opened:
            rules = yaml.safe_load(opened.read())["rules"]
        return [rule.model_dump(mode="json") for rule in EvaluateSettings.model_validate({"rules": rules}).rules]
    except (FileNotFoundError, yaml.YAMLError, ValidationError, KeyError, TypeError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else type(error).__name__
        raise UserError(
            f"thresholds '{file}' ({problem}): name a YAML file with `rules:` as under `evaluate` of a configuration"
        ) from error


def _training(key: str) -> dict[str, tuple[str, ...]]:
    properties = {"Trainer": "custom_config", "Tuner": "custom_config", "Reporter": "settings"}
    of_run = {"ChangeDetector": ("settings", "run", "train", key)}
    return {**of_run, **{component: (name, "train", key) for component, name in properties.items()}}


RUN_PARAMETERS = (
    RunParameter(
        name="data_root",
        kind=TEXT,
        description="Folder with span-N/, as the steps see it.",
        default=lambda config: str(config.data.root),
        places={"ChangeDetector": ("settings", "data_root"), "ExampleGen": ("input_base",)},
        convert=str,
    ),
    RunParameter(
        name="span",
        kind=INTEGER,
        description="The newest span to train on; 0: the latest there is.",
        default=lambda config: config.data.span or 0,
        places={"ChangeDetector": ("settings", "span"), "ExampleGen": ("range_config",)},
        convert=_newest_span,
        forms={"ExampleGen": _range_of},
    ),
    RunParameter(
        name="spans",
        kind=INTEGER,
        description="How many spans to train on, back from the newest.",
        default=lambda config: config.data.spans,
        places={
            "ChangeDetector": ("settings", "spans"),
            "ExampleGen": ("custom_config", "custom_config", "value", "spans"),
        },
        convert=_whole("spans", 1),
    ),
    RunParameter(
        name="epochs",
        kind=INTEGER,
        description="Of the training.",
        default=lambda config: config.train.epochs,
        places=_training("epochs"),
        convert=_whole("epochs", 1),
        key="train.epochs",
    ),
    RunParameter(
        name="seed",
        kind=INTEGER,
        description="Of the training.",
        default=lambda config: config.train.seed,
        places=_training("seed"),
        convert=_whole("seed", 0, below=2**32),
        unfit="its steps are named after their seeds: compile it again with --set train.seed=SEED",
    ),
    RunParameter(
        name="thresholds",
        kind=TEXT,
        description="YAML file with `rules` to judge by, as the steps see it; empty: those of the configuration.",
        default=lambda _: "",
        places={
            "ChangeDetector": ("settings", "run", "evaluate", "rules"),
            "Evaluator": ("settings", "evaluate", "rules"),
            "Reporter": ("settings", "evaluate", "rules"),
        },
        convert=_read_rules,
        unfit="it compares arms and judges none by rules",
    ),
    RunParameter(
        name="force",
        kind=SWITCH,
        description="Train even where nothing has changed since the model that serves was made.",
        default=lambda _: False,
        places={"ChangeDetector": ("settings", "regardless")},
        convert=lambda force: "forced" if force else None,
        unfit="it always trains",
    ),
)
"""All of them."""
