"""What ExampleGen is given beside what TFX's ImportExampleGen is."""

from google.protobuf import struct_pb2
from tfx.proto import example_gen_pb2
from tfx.utils import proto_utils

from schema.settings import Settings


class ExampleGenSettings(Settings):
    """How many spans to read, how to split them, and by which code; TFX takes it as a Struct in its `custom_config`."""

    spans: int = 1
    """Fewer are read where there are not so many."""
    rotation: int = 0
    """By how many buckets the splits are turned."""
    code_version: str = ""

    def to_proto(self) -> example_gen_pb2.CustomConfig:
        """Pack the settings for TFX."""
        values = struct_pb2.Struct()
        values.update(self.model_dump())
        config = example_gen_pb2.CustomConfig()
        config.custom_config.Pack(values)
        return config

    @classmethod
    def from_json(cls, text: str) -> "ExampleGenSettings":
        """Read what TFX has made of the packed settings."""
        config, values = example_gen_pb2.CustomConfig(), struct_pb2.Struct()
        proto_utils.json_to_proto(text, config)
        config.custom_config.Unpack(values)
        return cls.model_validate(dict(values))
