"""What shell tests cannot do by themselves: JSON, safetensors headers, .npy files, single bytes.

Needs only what Debian's python3-minimal has (no json module).

  get FILE KEY…                  a value inside a JSON file; list items by number; texts as they are, the rest as JSON
  set FILE KEY=VALUE…            replaces or adds top-level keys; VALUE is JSON
  drop FILE KEY…                 removes top-level keys
  keys FILE KEY…                 the JSON at that place must be an object with exactly the given keys after `--`
  safetensors OUT HEADER [N]     a file with this header text and N (default 64) data bytes; HEADER @FILE reads it
  length OUT FILE N              FILE with its first eight bytes saying N
  flip FILE OFFSET               inverts one byte; a negative offset counts from the end
  replace FILE OLD NEW           replaces the first occurrence of the text OLD by NEW of the same length
  abi FILE VERSION               writes another ABI version behind the magic number of a lib.so
  npy FILE.npy REFERENCE KEY     largest difference between the array and the JSON list REFERENCE[KEY]
  npysame A.npy B.npy            largest difference between two arrays
  llama DIR LAYERS D FF HEADS KV VOCAB   a Hugging Face folder of that shape whose float16 weights are a hole in a file (zeros that take no disk)
  peak COMMAND…                  runs a command; prints the most memory that it held, in bytes; exits with its code
  pieces INSPECT.json DIR OUT    the stored pieces that a library wants (the output of inspect --json), from the store in DIR, in order, each at 64 bytes
  common A B KEY KEY             length of the common beginning of two JSON lists: A[KEY], B[KEY]
"""
import os
import struct
import sys


def read_json(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return eval(text, {"__builtins__": {}, "true": True, "false": False, "null": None})


def quote(text):
    out = '"'
    for c in text:
        if c in '"\\':
            out += "\\" + c
        elif " " <= c <= "~":
            out += c
        elif ord(c) < 0x10000:
            out += "\\u%04x" % ord(c)
        else:
            n = ord(c) - 0x10000
            out += "\\u%04x\\u%04x" % (0xD800 + (n >> 10), 0xDC00 + (n & 0x3FF))
    return out + '"'


def to_json(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "[" + ", ".join(to_json(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(quote(k) + ": " + to_json(v) for k, v in value.items()) + "}"
    return repr(value)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        file.write(to_json(value))


def at(value, keys):
    for key in keys:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def read_npy(path):
    with open(path, "rb") as file:
        data = file.read()
    if data[:6] != b"\x93NUMPY" or data[6:8] != b"\x01\x00":
        raise SystemExit(path + ": not a version 1.0 .npy file")
    (length,) = struct.unpack_from("<H", data, 8)
    header = eval(data[10 : 10 + length].decode("latin1"), {"__builtins__": {}, "False": False, "True": True})
    if header["descr"] != "<f4" or header["fortran_order"] or (10 + length) % 64 != 0:
        raise SystemExit(path + ": header " + repr(header))
    count = 1
    for dim in header["shape"]:
        count *= dim
    if len(data) != 10 + length + 4 * count:
        raise SystemExit(path + ": the size does not fit the shape " + repr(header["shape"]))
    return header["shape"], struct.unpack_from("<%df" % count, data, 10 + length)


def difference(a, b):
    if len(a) != len(b):
        raise SystemExit("%d values against %d" % (len(a), len(b)))
    return max(abs(x - y) for x, y in zip(a, b))


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset, 0 if offset >= 0 else 2)
        file.write(data)


def find(path, needle):
    with open(path, "rb") as file:
        offset = file.read().find(needle)
    if offset < 0:
        raise SystemExit("%s does not hold %r" % (path, needle))
    return offset


def write_pieces(params, directory, path):
    shards = {}
    records = {}
    for shard in read_json(directory + "/tensor-cache.json")["records"]:
        with open(directory + "/" + shard["dataPath"], "rb") as file:
            shards[shard["dataPath"]] = file.read()
        for record in shard["records"]:
            records[record["name"]] = (shard["dataPath"], record["byteOffset"], record["nbytes"])
    with open(path, "wb") as file:
        for param in params:
            shard, offset, size = records[param["name"]]
            file.write(shards[shard][offset : offset + size])
            file.write(bytes(-size % 64))


def write_llama(directory, n_layers, d, ff, n_heads, n_kv, vocab):
    head_dim = d // n_heads
    shapes = {"model.embed_tokens.weight": [vocab, d]}
    for i in range(n_layers):
        layer = "model.layers.%d." % i
        shapes[layer + "input_layernorm.weight"] = [d]
        shapes[layer + "mlp.down_proj.weight"] = [d, ff]
        shapes[layer + "mlp.gate_proj.weight"] = [ff, d]
        shapes[layer + "mlp.up_proj.weight"] = [ff, d]
        shapes[layer + "post_attention_layernorm.weight"] = [d]
        shapes[layer + "self_attn.k_proj.weight"] = [n_kv * head_dim, d]
        shapes[layer + "self_attn.o_proj.weight"] = [d, d]
        shapes[layer + "self_attn.q_proj.weight"] = [d, d]
        shapes[layer + "self_attn.v_proj.weight"] = [n_kv * head_dim, d]
    shapes["model.norm.weight"] = [d]
    shapes["lm_head.weight"] = [vocab, d]
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2
        for dim in shape:
            end = offset + (end - offset) * dim
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = to_json(header).encode()
    os.makedirs(directory, exist_ok=True)
    with open(directory + "/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    config = {"model_type": "llama", "hidden_size": d, "intermediate_size": ff, "num_hidden_layers": n_layers, "num_attention_heads": n_heads}
    config.update({"num_key_value_heads": n_kv, "vocab_size": vocab, "rms_norm_eps": 1e-05, "max_position_embeddings": 512})
    config.update({"hidden_act": "silu", "tie_word_embeddings": False, "rope_theta": 10000.0})
    write_json(directory + "/config.json", config)


def main(words):
    command, args = words[0], words[1:]
    if command == "get":
        value = at(read_json(args[0]), args[1:])
        print(value if isinstance(value, str) else to_json(value))
    elif command == "set":
        value = read_json(args[0])
        for pair in args[1:]:
            key, text = pair.split("=", 1)
            value[key] = eval(text, {"__builtins__": {}, "true": True, "false": False, "null": None})
        write_json(args[0], value)
    elif command == "drop":
        value = read_json(args[0])
        for key in args[1:]:
            del value[key]
        write_json(args[0], value)
    elif command == "keys":
        cut = args.index("--")
        value = at(read_json(args[0]), args[1:cut])
        if sorted(value) != sorted(args[cut + 1 :]):
            raise SystemExit("%s: %s instead of %s" % (args[0], sorted(value), sorted(args[cut + 1 :])))
    elif command == "safetensors":
        header = args[1].encode("utf-8")
        if header[:1] == b"@":
            with open(header[1:], "rb") as file:
                header = file.read()
        n_data_bytes = int(args[2]) if len(args) > 2 else 64
        with open(args[0], "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header + bytes(n_data_bytes))
    elif command == "length":
        with open(args[1], "rb") as file:
            data = file.read()
        with open(args[0], "wb") as file:
            file.write(struct.pack("<Q", int(args[2])) + data[8:])
    elif command == "flip":
        offset = int(args[1])
        with open(args[0], "rb") as file:
            data = file.read()
        patch(args[0], offset, bytes([data[offset] ^ 0xFF]))
    elif command == "replace":
        old, new = args[1].encode(), args[2].encode()
        if len(old) != len(new):
            raise SystemExit("replace: the texts must have the same length")
        patch(args[0], find(args[0], old), new)
    elif command == "abi":
        patch(args[0], find(args[0], struct.pack("<II", 0x4343434C, 3)) + 4, struct.pack("<I", int(args[1])))
    elif command == "npy":
        shape, values = read_npy(args[0])
        expected = at(read_json(args[1]), args[2:])
        if shape != (1, len(expected)):
            raise SystemExit("shape %r" % (shape,))
        print("%.9f" % difference(values, expected))
    elif command == "npysame":
        print("%.9f" % difference(read_npy(args[0])[1], read_npy(args[1])[1]))
    elif command == "llama":
        write_llama(args[0], *[int(word) for word in args[1:]])
    elif command == "peak":
        pid = os.fork()
        if pid == 0:
            os.dup2(2, 1)
            os.execvp(args[0], args)
        _, status, usage = os.wait4(pid, 0)
        print(usage.ru_maxrss * 1024)
        sys.exit(os.waitstatus_to_exitcode(status))
    elif command == "pieces":
        write_pieces(at(read_json(args[0]), ["library", "stored_params"]), args[1], args[2])
    elif command == "common":
        a, b = read_json(args[0])[args[2]], read_json(args[1])[args[3]]
        n = 0
        while n < min(len(a), len(b)) and a[n] == b[n]:
            n += 1
        print(n)
    else:
        raise SystemExit(__doc__)


main(sys.argv[1:])
