"""Transform: Examples in, transformed Examples and the graph that transforms them out."""

from tfx import types
from tfx.components.transform import component
from tfx.dsl.components.base import executor_spec
from tfx.proto import transform_pb2

from components.code_version import code_version
from components.transform import executor
from modules.preprocessing.settings import PreprocessingSettings, TransformSettings
from modules.preprocessing.transform import preprocessing_fn


class Transform(component.Transform):
    """TFX's Transform; it fails where a record of the Augmenter's is not among the transformed ones.

    ```python
    transform = Transform(
        examples=augmenter.outputs["augmented_examples"],
        schema=schema_gen.outputs["schema"],
        image_size=256,
        settings=TransformSettings(normalization="image"),
    )
    trainer = Trainer(examples=transform.outputs["transformed_examples"], ...)
    ```
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self, examples: types.BaseChannel, schema: types.BaseChannel, image_size: int, settings: TransformSettings
    ) -> None:
        """Wire the component.

        Args:
            examples: Originals and copies, of which the splits `train` and `eval` are transformed.
            schema: Of the records.
            image_size: Side of the square images that come out, pixels.
            settings: What becomes of grey values.
        """
        config = PreprocessingSettings(
            image_size=image_size,
            transform=settings,
            code_version=code_version(executor.__name__, preprocessing_fn.__module__),
        )
        super().__init__(
            examples=examples,
            schema=schema,
            preprocessing_fn=f"{preprocessing_fn.__module__}.{preprocessing_fn.__name__}",
            splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
            custom_config=config.model_dump(mode="json"),
            disable_statistics=True,
        )
