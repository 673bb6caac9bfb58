"""The few TensorFlow Serving messages that zfkeras reads and writes, without its package.

``tensorflow-serving-api`` brings gRPC with it and pins protobuf; a warm-up file and a
``models.config`` need some messages. They are declared here in a descriptor pool of their
own, so importing the real package beside them clashes with nothing.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "double": _FIELD.TYPE_DOUBLE,
    "bool": _FIELD.TYPE_BOOL,
}
# name: {field: (number, type)}, "*" marks a repeated field. A map is a repeated key/value
# pair on the wire and in text, and a message is bytes on the wire: InputEntry's value is a
# serialized TensorProto.
_MESSAGES = {
    "PredictionLog": {"predict_log": (6, "PredictLog")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "InputEntry*")},
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
    "InputEntry": {"key": (1, "string"), "value": (2, "bytes")},
    "ModelServerConfig": {"model_config_list": (1, "ModelConfigList")},
    "ModelConfigList": {"config": (1, "ModelConfig*")},
    "ModelConfig": {
        "name": (1, "string"),
        "base_path": (2, "string"),
        "model_platform": (4, "string"),
        "model_version_policy": (7, "VersionPolicy"),
        "logging_config": (6, "LoggingConfig"),
        "version_labels": (8, "LabelEntry*"),
    },
    "LoggingConfig": {
        "log_collector_config": (1, "LogCollectorConfig"),
        "sampling_config": (2, "SamplingConfig"),
    },
    "LogCollectorConfig": {"type": (1, "string"), "filename_prefix": (2, "string")},
    "SamplingConfig": {"sampling_rate": (1, "double")},
    "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "VersionPolicy": {
        "latest": (100, "Latest"),
        "all": (101, "All"),
        "specific": (102, "Specific"),
    },
    "Latest": {"num_versions": (1, "uint32")},
    "All": {},
    "Specific": {"versions": (1, "int64*")},
    "LabelEntry": {"key": (1, "string"), "value": (2, "int64")},
}


def _declare_field(message: Any, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    field.label = _FIELD.LABEL_REPEATED if kind.endswith("*") else _FIELD.LABEL_OPTIONAL
    kind = kind.rstrip("*")
    field.type = _SCALARS.get(kind, _FIELD.TYPE_MESSAGE)
    if kind not in _SCALARS:
        field.type_name = f".tensorflow.serving.{kind}"


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="zfkeras.proto", package="tensorflow.serving")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _declare_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
        )
        for name in _MESSAGES
    }


_CLASSES = _build()
PredictionLog: Any = _CLASSES["PredictionLog"]
ModelServerConfig: Any = _CLASSES["ModelServerConfig"]
MonitoringConfig: Any = _CLASSES["MonitoringConfig"]
