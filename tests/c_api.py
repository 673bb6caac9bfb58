"""TensorFlow's C API through ctypes: the session loader that TensorFlow Serving uses.

No Python of TensorFlow's is in the way: shapes are not checked, and an abort is an abort.
"""

import ctypes
from pathlib import Path

import numpy as np
import tensorflow as tf

_TYPES = {np.dtype("float32"): 1, np.dtype("int32"): 3, np.dtype("O"): 7}
_DTYPES = {number: dtype for dtype, number in _TYPES.items()}
_STRING_BYTES = 24
_POINTERS = """TF_NewStatus TF_NewGraph TF_NewSessionOptions TF_LoadSessionFromSavedModel
TF_GraphOperationByName TF_AllocateTensor TF_TensorData TF_StringGetDataPointer""".split()


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def _library():
    folder = Path(tf.sysconfig.get_lib())
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    for name in _POINTERS:
        getattr(library, name).restype = ctypes.c_void_p
    library.TF_Message.restype = ctypes.c_char_p
    for name in ("TF_Dim", "TF_TensorByteSize", "TF_StringGetSize"):
        getattr(library, name).restype = ctypes.c_size_t
    return library


class Session:
    """A SavedModel in a C session."""

    def __init__(self, path):
        self._c = _library()
        self._status = ctypes.c_void_p(self._c.TF_NewStatus())
        self._graph = ctypes.c_void_p(self._c.TF_NewGraph())
        tags = (ctypes.c_char_p * 1)(b"serve")
        options = ctypes.c_void_p(self._c.TF_NewSessionOptions())
        where = str(path).encode()
        session = self._c.TF_LoadSessionFromSavedModel(
            options, None, where, tags, 1, self._graph, None, self._status
        )
        self._check()
        self._session = ctypes.c_void_p(session)

    def close(self):
        self._c.TF_CloseSession(self._session, self._status)
        self._c.TF_DeleteSession(self._session, self._status)

    def run(self, definition, feeds):
        """Outputs by name of a SignatureDef, for arrays by input name."""
        names = sorted(definition.outputs)
        inputs = [self._output(definition.inputs[name]) for name in feeds]
        outputs = [self._output(definition.outputs[name]) for name in names]
        values = (ctypes.c_void_p * len(feeds))(*map(self._tensor, feeds.values()))
        results = (ctypes.c_void_p * len(names))()
        self._c.TF_SessionRun(
            self._session,
            None,
            (_Output * len(inputs))(*inputs),
            values,
            len(inputs),
            (_Output * len(outputs))(*outputs),
            results,
            len(outputs),
            None,
            0,
            None,
            self._status,
        )
        self._check()
        arrays = map(self._array, results)
        return dict(zip(names, arrays, strict=True))

    def _check(self):
        if self._c.TF_GetCode(self._status):
            raise RuntimeError(self._c.TF_Message(self._status).decode())

    def _output(self, info):
        name, _, index = info.name.partition(":")
        operation = self._c.TF_GraphOperationByName(self._graph, name.encode())
        assert operation, name
        return _Output(operation, int(index))

    def _tensor(self, value):
        dims = (ctypes.c_int64 * value.ndim)(*value.shape)
        size = _STRING_BYTES * value.size if value.dtype == object else value.nbytes
        tensor = self._c.TF_AllocateTensor(
            _TYPES[value.dtype], dims, value.ndim, ctypes.c_size_t(size)
        )
        data = self._c.TF_TensorData(ctypes.c_void_p(tensor))
        if value.dtype != object:
            ctypes.memmove(data, np.ascontiguousarray(value).tobytes(), size)
            return tensor
        for i, text in enumerate(value.ravel()):
            place = ctypes.c_void_p(data + _STRING_BYTES * i)
            self._c.TF_StringInit(place)
            self._c.TF_StringCopy(place, text, ctypes.c_size_t(len(text)))
        return tensor

    def _array(self, tensor):
        tensor = ctypes.c_void_p(tensor)
        shape = [self._c.TF_Dim(tensor, i) for i in range(self._c.TF_NumDims(tensor))]
        dtype = _DTYPES[self._c.TF_TensorType(tensor)]
        data = self._c.TF_TensorData(tensor)
        if dtype.kind != "O":
            size = self._c.TF_TensorByteSize(tensor)
            return np.frombuffer(ctypes.string_at(data, size), dtype).reshape(shape)
        texts = []
        for i in range(int(np.prod(shape))):
            place = ctypes.c_void_p(data + _STRING_BYTES * i)
            pointer = self._c.TF_StringGetDataPointer(place)
            texts.append(ctypes.string_at(pointer, self._c.TF_StringGetSize(place)))
        return np.array(texts, object).reshape(shape)
