"""Changes one tensor of a safetensors file, for tests of what a reader refuses.

  damage.py FILE drop NAME             without the tensor
  damage.py FILE shape NAME D0 D1 …    another shape; data cut or repeated to fit
  damage.py FILE dtype NAME DTYPE      another element type of the same size
  damage.py FILE poke NAME OFFSET HEX  bytes at an offset of its data
"""
import json
import struct
import sys

from containers import ITEM_BYTES, write_safetensors


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], data[8 + length + begin : 8 + length + end])
    return tensors


def main(path, command, name, *words):
    tensors = read(path)
    dtype, shape, data = tensors[name]
    if command == "drop":
        del tensors[name]
    elif command == "shape":
        shape = [int(word) for word in words]
        count = ITEM_BYTES[dtype]
        for dim in shape:
            count *= dim
        tensors[name] = (dtype, shape, (data * (count // len(data) + 1))[:count])
    elif command == "dtype":
        tensors[name] = (words[0], shape, data)
    elif command == "poke":
        offset, change = int(words[0]), bytes.fromhex(words[1])
        tensors[name] = (dtype, shape, data[:offset] + change + data[offset + len(change) :])
    else:
        raise SystemExit(__doc__)
    write_safetensors(path, tensors)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
