"""tf.train.Example without TensorFlow, whose import takes ten seconds and 600 MB.

>>> example = Example()
>>> example.features.feature["age"].float_list.value.append(40)
>>> example.SerializeToString(deterministic=True)
b'...'

The messages are those of TensorFlow's `core/example/{example,feature}.proto`, byte for byte; they stand in a pool of
their own, so that TensorFlow can be imported as well.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_VALUES: Final = {"bytes_list": ("BytesList", "bytes"), "float_list": ("FloatList", "float"),
                  "int64_list": ("Int64List", "int64")}  # fmt: skip
_Field = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="schema/example.proto", package="tensorflow", syntax="proto3")
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (message, scalar)) in enumerate(_VALUES.items(), 1):
        values = file.message_type.add(name=message).field.add(name="value", number=1, label=_Field.LABEL_REPEATED)
        values.type = _Field.Type.Value(f"TYPE_{scalar.upper()}")
        _add_message(feature, name, number, message).oneof_index = 0
    features = descriptor_pb2.DescriptorProto(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    _add_message(entry, "value", 2, "Feature")
    _add_message(features, "feature", 1, "Features.FeatureEntry").label = _Field.LABEL_REPEATED
    example = descriptor_pb2.DescriptorProto(name="Example")
    _add_message(example, "features", 1, "Features")
    file.message_type.extend([feature, features, example])
    return file


def _add_message(to: descriptor_pb2.DescriptorProto, name: str, number: int, message: str) -> Any:
    return to.field.add(
        name=name,
        number=number,
        label=_Field.LABEL_OPTIONAL,
        type=_Field.TYPE_MESSAGE,
        type_name=f".tensorflow.{message}",
    )


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_file())
Example: Final[Any] = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("tensorflow.Example"))
"""The class of the message."""
