"""Weight files: safetensors, and the zip of a pickle and raw storages that torch.save writes."""
import json
import os
import struct
import zipfile

ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "F8_E4M3": 1}
TORCH_STORAGE = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage", "I64": "LongStorage", "I32": "IntStorage", "I16": "ShortStorage", "I8": "CharStorage"}


def check(name, dtype, shape, data):
    count = 1
    for dim in shape:
        count *= dim
    if len(data) != count * ITEM_BYTES[dtype]:
        raise SystemExit("%s: %d bytes do not fill %s %r" % (name, len(data), dtype, shape))


def write_safetensors(path, tensors):
    """tensors: {name: (dtype, shape, bytes)}"""
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        check(name, dtype, shape, data)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def write_sharded_safetensors(directory, tensors, n_files):
    names = sorted(tensors)
    weight_map = {}
    for i in range(n_files):
        part = names[i::n_files]
        file_name = "model-%05d-of-%05d.safetensors" % (i + 1, n_files)
        write_safetensors(os.path.join(directory, file_name), {name: tensors[name] for name in part})
        weight_map.update({name: file_name for name in part})
    with open(os.path.join(directory, "model.safetensors.index.json"), "w") as file:
        json.dump({"metadata": {}, "weight_map": dict(sorted(weight_map.items()))}, file)


# ---- the pickle that torch.save writes, opcode by opcode (protocol 2) ----


def unicode_op(text):
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def int_op(value):
    if value < 256:
        return b"K" + bytes([value])
    return b"J" + struct.pack("<i", value)


def tuple_op(items):
    return b"(" + b"".join(items) + b"t"


def tensor_op(key, dtype, shape):
    strides, step = [], 1
    for dim in reversed(shape):
        strides.insert(0, step)
        step *= dim
    storage = tuple_op([unicode_op("storage"), b"ctorch\n" + TORCH_STORAGE[dtype].encode() + b"\n", unicode_op(key), unicode_op("cpu"), int_op(step)]) + b"Q"
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = [storage, int_op(0), tuple_op([int_op(d) for d in shape]), tuple_op([int_op(s) for s in strides]), b"\x89", hooks]
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + tuple_op(arguments) + b"R"


def write_torch(path, tensors):
    program = b"\x80\x02ccollections\nOrderedDict\n)R("
    for i, (name, (dtype, shape, data)) in enumerate(tensors.items()):
        check(name, dtype, shape, data)
        program += unicode_op(name) + tensor_op(str(i), dtype, shape)
    program += b"u."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", program)
        for i, (_, _, data) in enumerate(tensors.values()):
            archive.writestr("archive/data/%d" % i, data)
        archive.writestr("archive/version", b"3\n")
