"""The graph of a study: what its trainings share is made once, and each training is a node of its own.

    ExampleGen - RecordValidator - ... - DataGate          once a fold
    |- Augmenter                                           one makes the test images, and one for each policy
    |- Transform                                           one for each policy, normalisation and size
    |- Trainer - Evaluator                                 one a training
    `- StudyComparison - StudyReporter, (DoubtfulMasks)    of all folds together

Ids follow from what a node makes, so that an arm, a seed or a fold that is added leaves all others in the cache.
"""

from dataclasses import dataclass

from tfx.components import Trainer
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline
from tfx.types import BaseChannel

from components.augmenter.policy import Policy
from components.doubtful_masks.component import DoubtfulMasks
from components.doubtful_masks.settings import DoubtfulMasksSettings
from components.evaluator.component import Evaluator
from components.evaluator.settings import EvaluatorSettings
from components.study_comparison.component import StudyComparison
from components.study_comparison.settings import StudyComparisonSettings
from components.study_reporter.component import StudyReporter
from components.study_reporter.settings import StudyReporterSettings
from components.transform.component import Transform
from pipeline.config import Config
from pipeline.data_graph import DataNodes, make_augmenter, prepare, validate
from pipeline.graph import ROOT_ON_CLUSTER, make_pipeline, make_trainer, make_transform
from pipeline.root import STUDY_SUFFIX
from pipeline.study.arms import StudyArm, slug, without_test_copies
from pipeline.study.plan import PlannedTraining, StudyPlan, short_digest, suffix
from schema.reports.study import Arm


@dataclass(frozen=True)
class _Trained:
    trainer: Trainer
    evaluator: Evaluator


def create_study(
    plan: StudyPlan, connection: metadata_store_pb2.ConnectionConfig | None = None, *, on_cluster: bool = False
) -> Pipeline:
    """Build the graph of a study.

    Args:
        plan: What it compares.
        connection: Where the runner keeps metadata.
        on_cluster: Whether the graph is built for Kubeflow.
    """
    folds = [_Fold(config, fold) for fold, config in plan.all_folds().items()]
    trained = [_train(fold, planned) for fold in folds for planned in plan.trainings(fold.number)]
    config, evaluations = plan.config, [each.evaluator.outputs["evaluation"] for each in trained]
    comparison = StudyComparison(
        evaluations=evaluations,
        settings=StudyComparisonSettings(
            arms=tuple(Arm(name=arm.name, settings=arm.settings) for arm in plan.arms),
            seeds=plan.all_seeds,
            folds=plan.folds,
            evaluate=config.evaluate,
        ),
    )
    models = [each.trainer.outputs["model"] for each in trained]
    examples = [fold.data.examples for fold in folds]
    reporter = StudyReporter(
        comparison=comparison.outputs["comparison"],
        evaluations=evaluations,
        models=models,
        model_runs=[each.trainer.outputs["model_run"] for each in trained],
        examples=examples,
        external_examples=folds[0].data.external,
        settings=StudyReporterSettings(pipeline=config.name, policy=config.augment.effective_policy),
    )
    nodes = [node for fold in folds for node in fold.nodes]
    nodes += [node for each in trained for node in (each.trainer, each.evaluator)]
    nodes += [comparison, reporter]
    if plan.folds:
        settings = DoubtfulMasksSettings(pipeline=config.name)
        nodes.append(DoubtfulMasks(evaluations=evaluations, models=models, examples=examples, settings=settings))
    artifacts = ROOT_ON_CLUSTER if on_cluster else None
    return make_pipeline(config, f"{config.name}{STUDY_SUFFIX}", nodes, connection, artifacts)


def _train(fold: "_Fold", planned: PlannedTraining) -> _Trained:
    """Make the nodes of one training; all arms are measured on the images that the study's own policy makes."""
    trainer = make_trainer(planned.config, fold.transform_for(planned.arm), fold.data.schema)
    evaluator = Evaluator(
        examples=fold.data.examples,
        external_examples=fold.data.external,
        model=trainer.outputs["model"],
        settings=EvaluatorSettings(evaluate=fold.config.evaluate, training=planned.training),
    )
    return _Trained(trainer.with_id(planned.trainer_id), evaluator.with_id(planned.evaluator_id))


class _Fold:
    """The data of one split, and what makes examples of them to learn from, by what determines it.

    Attributes:
        config: Of the study, with this split.
        number: Of the fold; None where there is one split.
        data: What all arms share.
        nodes: All nodes before the trainings.
    """

    def __init__(self, config: Config, number: int | None) -> None:
        self.config, self.number = config, number
        self.data: DataNodes = prepare(config, validate(config))
        # The first fold's have the names that they have in a run: `lungseg history` looks for them.
        self._suffix = suffix(number) if number != 1 else ""
        self.nodes: list[BaseComponent] = [node.with_id(f"{node.id}{self._suffix}") for node in self.data.nodes]
        self._copies: dict[str, BaseChannel] = {}
        self._transforms: dict[str, Transform] = {}

    def transform_for(self, arm: StudyArm) -> Transform:
        """Return what makes the examples that an arm learns from; the same for arms that learn from the same."""
        own = without_test_copies(self.config.augment.effective_policy)
        policy = arm.policy or own
        seen = arm.config.model_dump(mode="json", include={"transform": True, "model": {"image_size"}})
        key = short_digest({**seen, "policy": policy.model_dump(mode="json")})
        if key not in self._transforms:
            transform = make_transform(arm.config, self._examples_of(policy, own), self.data.schema)
            self._transforms[key] = transform.with_id(f"Transform-{key}{self._suffix}")
            self.nodes.append(transform)
        return self._transforms[key]

    def _examples_of(self, policy: Policy, own: Policy) -> BaseChannel:
        """Return originals with the copies that a policy makes to learn from."""
        if policy == own:
            return self.data.examples
        name = f"Augmenter-{slug(policy.name)}-{policy.content_hash()[:8]}"
        if name not in self._copies:
            augmenter = make_augmenter(policy, self.data.originals, self.data.gate).with_id(f"{name}{self._suffix}")
            self._copies[name] = augmenter.outputs["augmented_examples"]
            self.nodes.append(augmenter)
        return self._copies[name]
