"""torch_cases DIR: the checkpoints that tests/unit/frontend/torch_source_test.c reads, and seeds for the fuzz targets.

Byte i of tensor number k is (7 i + 31 k) mod 251, so that the test can say what every element must be.
"""
import argparse
import json
import os
import sys
import zipfile

from torch_file import Storage, Tensor, pickled, save, state_dict


def pattern(number, size_bytes):
    return bytes((7 * i + 31 * number) % 251 for i in range(size_bytes))


def everything():
    """One tensor of each kind; the number of its pattern stands beside it."""
    tied, flat = Storage(pattern(9, 48)), Storage(pattern(10, 40))
    return {
        "f32": Tensor("float32", [3, 5], pattern(0, 60)),
        "f16": Tensor("float16", [7], pattern(1, 14)),
        "bf16": Tensor("bfloat16", [2, 3, 4], pattern(2, 48)),
        "i64": Tensor("int64", [3], pattern(3, 24)),
        "i32": Tensor("int32", [2, 2], pattern(4, 16)),
        "i16": Tensor("int16", [5], pattern(5, 10)),
        "i8": Tensor("int8", [9], pattern(6, 9)),
        "u8": Tensor("uint8", [300, 7], pattern(7, 2100)),
        "bool": Tensor("bool", [4], bytes(4)),
        "f64": Tensor("float64", [2], bytes(16)),
        "f8e4m3": Tensor("float8_e4m3fn", [3, 3], pattern(8, 9)),
        "f8e5m2": Tensor("float8_e5m2", [9], pattern(8, 9)),
        "tied.a": Tensor("float16", [4, 6], tied),
        "tied.b": Tensor("float16", [4, 6], tied),
        "flat.head": Tensor("float32", [3], flat, offset=0),
        "flat.tail": Tensor("float32", [7], flat, offset=3),
        "parameter": Tensor("float16", [3], pattern(11, 6), is_parameter=True),
        "scalar": Tensor("float32", [], pattern(12, 4)),
        "empty": Tensor("float32", [0, 4], b""),
        "transposed": Tensor("float16", [5, 3], pattern(13, 30), strides=[1, 5]),
        "permuted": Tensor("float32", [2, 3, 4], pattern(14, 96), strides=[4, 8, 1]),
        "every_second": Tensor("uint8", [4, 3], pattern(15, 32), strides=[8, 2], offset=1),
        "broadcast": Tensor("float32", [3, 4], pattern(16, 16), strides=[0, 1]),
    }


class System:
    def __reduce__(self):
        return os.system, ("touch /tmp/mlcc_pickle_was_run",)


def good(folder):
    for protocol in (2, 3, 4, 5):
        save(f"{folder}/protocol{protocol}.bin", state_dict(everything()), protocol)
    save(f"{folder}/deflated.bin", state_dict(everything()), compression=zipfile.ZIP_DEFLATED)
    save(f"{folder}/plain_dict.bin", everything(), prefix="pytorch_model", byteorder=None)
    save(f"{folder}/wrapped.bin", {"epoch": 3, "state_dict": state_dict(everything()), "lr": 0.5})
    names = list(everything())
    os.makedirs(f"{folder}/sharded")
    shards = [names[0::2], names[1::2]]
    weight_map = {}
    for number, shard in enumerate(shards):
        file = f"pytorch_model-0000{number + 1}-of-00002.bin"
        save(f"{folder}/sharded/{file}", state_dict({name: everything()[name] for name in shard}))
        weight_map.update({name: file for name in shard})
    with open(f"{folder}/sharded/pytorch_model.bin.index.json", "w") as index:
        json.dump({"metadata": {"total_size": 1}, "weight_map": {name: weight_map[name] for name in names}}, index)


def bad(folder):
    one = {"w": Tensor("float16", [4], pattern(0, 8))}
    save(f"{folder}/system.bin", {**one, "x": System()})
    save(f"{folder}/namespace.bin", {**one, "args": argparse.Namespace(lr=1)})
    save(f"{folder}/big_endian.bin", one, byteorder="big")
    save(f"{folder}/no_pickle.bin", one, drop=["data.pkl"])
    save(f"{folder}/no_storage.bin", one, drop=["data/0"])
    save(f"{folder}/truncated_pickle.bin", one, program=pickled(one)[0][:-20])
    save(f"{folder}/claims_more.bin", {"w": Tensor("float16", [4], Storage(pattern(0, 8), claimed=5))})
    save(f"{folder}/claims_less.bin", {"w": Tensor("float16", [3], Storage(pattern(0, 8), claimed=3))})
    save(f"{folder}/claims_all.bin", {"w": Tensor("float16", [4], Storage(pattern(0, 8), claimed=1 << 60))})


def seeds(folder):
    """Small files for tests/fuzz/seeds."""
    os.makedirs(f"{folder}/torch_pickle_fuzz", exist_ok=True)
    os.makedirs(f"{folder}/torch_archive_fuzz", exist_ok=True)
    few = {name: everything()[name] for name in ("f16", "f8e4m3", "tied.a", "tied.b", "parameter", "transposed")}
    for protocol in (2, 4):
        with open(f"{folder}/torch_pickle_fuzz/protocol{protocol}", "wb") as file:
            file.write(pickled(state_dict(few), protocol)[0])
    with open(f"{folder}/torch_pickle_fuzz/wrapped", "wb") as file:
        file.write(pickled({"epoch": 3, "lr": 0.5, "model": few, "list": [1, None, True]})[0])
    with open(f"{folder}/torch_pickle_fuzz/system", "wb") as file:
        file.write(pickled({"x": System()})[0])
    save(f"{folder}/torch_archive_fuzz/stored", state_dict(few))
    save(f"{folder}/torch_archive_fuzz/deflated", few, compression=zipfile.ZIP_DEFLATED, byteorder=None)
    save(f"{folder}/torch_archive_fuzz/claims_more", {"w": Tensor("float16", [4], Storage(pattern(0, 8), claimed=5))})


if __name__ == "__main__":
    if sys.argv[1] == "--seeds":
        seeds(sys.argv[2])
    else:
        good(sys.argv[1])
        bad(sys.argv[1])
