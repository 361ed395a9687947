"""torch_file: writes checkpoints in torch's zip format without torch, by Python's own pickler and zipfile.

    from torch_file import Tensor, save
    save("pytorch_model.bin", {"w": Tensor("float16", [2, 3], data)})

The classes and functions that torch's pickles name are made up here, in modules of torch's names, and the pickler writes the
same programs as it does for torch.save: persistent ids for storages, _rebuild_tensor_v2 (v3 for the newer dtypes), the
OrderedDict with its _metadata. Entries are stored, and data begins at multiples of 64 bytes as torch's does.
"""
import collections
import io
import pickle
import struct
import sys
import types
import zipfile

STORAGES = {  # dtype -> class of storages, bytes of an element
    "float32": ("FloatStorage", 4), "float16": ("HalfStorage", 2), "bfloat16": ("BFloat16Storage", 2),
    "float64": ("DoubleStorage", 8), "int64": ("LongStorage", 8), "int32": ("IntStorage", 4), "int16": ("ShortStorage", 2),
    "int8": ("CharStorage", 1), "uint8": ("ByteStorage", 1), "bool": ("BoolStorage", 1), "complex64": ("ComplexFloatStorage", 8),
}
NEW_DTYPES = {"float8_e4m3fn": 1, "float8_e5m2": 1, "uint32": 4, "uint16": 2}  # these are rebuilt by _rebuild_tensor_v3


def _module(name):
    module = types.ModuleType(name)
    sys.modules[name] = module
    return module


_torch, _utils, _storage = _module("torch"), _module("torch._utils"), _module("torch.storage")


def _add(module, name, thing):
    thing.__module__, thing.__qualname__, thing.__name__ = module.__name__, name, name
    setattr(module, name, thing)
    return thing


def _never(*_):
    raise RuntimeError("only its name is ever written")


for _class, _ in STORAGES.values():
    _add(_torch, _class, type(_class, (), {}))
_add(_storage, "UntypedStorage", type("UntypedStorage", (), {}))
_v2 = _add(_utils, "_rebuild_tensor_v2", lambda *_: _never())
_v3 = _add(_utils, "_rebuild_tensor_v3", lambda *_: _never())
_parameter = _add(_utils, "_rebuild_parameter", lambda *_: _never())


class _Dtype:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return self.name  # a global of the module that holds it


for _name in [*STORAGES, *NEW_DTYPES]:
    _dtype = _Dtype(_name)
    _dtype.__module__ = "torch"
    setattr(_torch, _name, _dtype)


class Storage:
    """Bytes that tensors are cut from. `claimed`: the element count that the pickle tells, if it shall lie."""

    def __init__(self, data, claimed=None):
        self.data, self.claimed = bytes(data), claimed


class Tensor:
    def __init__(self, dtype, shape, data, strides=None, offset=0, is_parameter=False):
        self.dtype, self.shape, self.offset, self.is_parameter = dtype, tuple(shape), offset, is_parameter
        self.storage = data if isinstance(data, Storage) else Storage(data)
        if strides is None:
            strides, step = [], 1
            for dim in reversed(self.shape):
                strides.insert(0, step)
                step *= max(dim, 1)
        self.strides = tuple(strides)

    def __reduce_ex__(self, protocol):
        if self.is_parameter:
            plain = Tensor(self.dtype, self.shape, self.storage, self.strides, self.offset)
            return _parameter, (plain, True, collections.OrderedDict())
        arguments = (_Typed(self.storage, self.dtype), self.offset, self.shape, self.strides, False, collections.OrderedDict())
        if self.dtype in NEW_DTYPES:
            return _v3, (*arguments, getattr(_torch, self.dtype))
        return _v2, arguments


class _Typed:
    def __init__(self, storage, dtype):
        self.storage, self.dtype = storage, dtype


class _Pickler(pickle.Pickler):
    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.keys, self.storages = {}, []

    def persistent_id(self, thing):
        if not isinstance(thing, _Typed):
            return None
        if id(thing.storage) not in self.keys:
            self.keys[id(thing.storage)] = str(len(self.storages))
            self.storages.append(thing.storage)
        if thing.dtype in NEW_DTYPES:
            kind, count = _storage.UntypedStorage, len(thing.storage.data)
        else:
            name, element_bytes = STORAGES[thing.dtype]
            kind, count = getattr(_torch, name), len(thing.storage.data) // element_bytes
        if thing.storage.claimed is not None:
            count = thing.storage.claimed
        return "storage", kind, self.keys[id(thing.storage)], "cpu", count


def state_dict(tensors):
    """An OrderedDict with the attribute that torch's modules give it."""
    state = collections.OrderedDict(tensors)
    state._metadata = collections.OrderedDict([("", {"version": 1}), ("model", {"version": 1})])
    return state


def pickled(thing, protocol=2):
    """The program and the storages that it names."""
    file = io.BytesIO()
    pickler = _Pickler(file, protocol)
    pickler.dump(thing)
    return file.getvalue(), pickler.storages


def _add_entry(archive, name, data, compression=zipfile.ZIP_STORED):
    info = zipfile.ZipInfo(name)
    info.compress_type = compression
    start = archive.fp.tell() + 30 + len(name.encode())
    info.extra = b"FB" + struct.pack("<H", (-start - 4) % 64) + b"Z" * ((-start - 4) % 64)
    archive.writestr(info, data)


def save(path, thing, protocol=2, prefix="archive", compression=zipfile.ZIP_STORED, byteorder="little", program=None, drop=()):
    """`program` replaces the pickle, `drop` names entries to leave out."""
    data, storages = pickled(thing, protocol)
    entries = [("data.pkl", data if program is None else program)]
    if byteorder is not None:
        entries.append(("byteorder", byteorder.encode()))
    entries += [(f"data/{key}", storage.data) for key, storage in enumerate(storages)]
    entries.append(("version", b"3\n"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            if name not in drop:
                _add_entry(archive, f"{prefix}/{name}", content, compression)
