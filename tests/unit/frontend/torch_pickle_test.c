// torch_pickle: programs assembled by hand, and each way in which one can ask for too much or contradict itself.
#include "frontend/hf/torch_pickle.h"
#include "tests/unit/frontend/fixture.h"

// Pieces of programs. Texts of up to 255 bytes: length, then bytes; all literals may hold NUL bytes, so sizes come from sizeof.
#define PROTO         "\x80\x02"
#define DICT          "ccollections\nOrderedDict\n)R"
#define TEXT(n, text) "X" n "\0\0\0" text
#define CLASS(name)   "ctorch\n" name "\n"
#define STORAGE(type, n) \
    "(" TEXT("\x07", "storage") CLASS(type) TEXT("\x01", "0") TEXT("\x03", "cpu") n "tQ"
#define REBUILD    "ctorch._utils\n_rebuild_tensor_v2\n("
#define REBUILD_V3 "ctorch._utils\n_rebuild_tensor_v3\n("
#define TAIL       "\x89" DICT "tR" // requires_grad, hooks, call
// A tensor [2, 3] over a storage of six elements, first byte of every part exchangeable.
#define TENSOR(type) \
    REBUILD STORAGE(type, "K\x06") "K\0" \
                                   "K\x02K\x03\x86" \
                                   "K\x03K\x01\x86" TAIL
#define SHAPED(n, offset, size, stride) \
    REBUILD STORAGE("FloatStorage", n) \
    offset size stride TAIL
#define ONE(tensor)    PROTO DICT TEXT("\x01", "w") tensor "s."
#define BYTES(literal) (literal), sizeof(literal) - 1

static mlcc_status *parse(fixture *self, const char *program, size_t n, hf_torch_pickle *out) {
    char *copy = malloc(n + 1); // its own allocation, so that reading beyond it is seen
    assert_non_null(copy);
    memcpy(copy, program, n);
    mlcc_status *status = hf_torch_pickle_parse(copy, n, "x.bin", self->keep, out);
    free(copy);
    return status;
}

static void test_one_tensor(void **state) {
    hf_torch_pickle pickle;
    expect_ok(parse(*state, BYTES(ONE(TENSOR("HalfStorage"))), &pickle));
    assert_int_equal(pickle.n_tensors, 1);
    assert_int_equal(pickle.n_storages, 1);
    assert_string_equal(pickle.storages[0].key, "0");
    assert_int_equal(pickle.storages[0].size_bytes, 12);
    const hf_torch_tensor *w = &pickle.tensors[0];
    assert_string_equal(w->tensor.name, "w");
    assert_int_equal(w->tensor.dtype, IR_F16);
    assert_string_equal(w->tensor.dtype_text, "torch.float16");
    assert_int_equal(w->tensor.rank, 2);
    assert_int_equal(w->tensor.dims[0], 2);
    assert_int_equal(w->tensor.dims[1], 3);
    assert_int_equal(w->tensor.size_bytes, 12);
    assert_int_equal(w->offset_bytes, 0);
    assert_int_equal(w->span_bytes, 12);
    assert_true(w->is_contiguous);
}

static void test_dtypes(void **state) {
    static const struct {
        const char *program;
        size_t n;
        ir_dtype dtype;
        uint64_t size_bytes;
        const char *text;
    } cases[] = {
        {BYTES(ONE(TENSOR("FloatStorage"))), IR_F32, 24, "torch.float32"},
        {BYTES(ONE(TENSOR("BFloat16Storage"))), IR_BF16, 12, "torch.bfloat16"},
        {BYTES(ONE(TENSOR("LongStorage"))), IR_I64, 48, "torch.int64"},
        {BYTES(ONE(TENSOR("IntStorage"))), IR_I32, 24, "torch.int32"},
        {BYTES(ONE(TENSOR("ShortStorage"))), IR_I16, 12, "torch.int16"},
        {BYTES(ONE(TENSOR("CharStorage"))), IR_I8, 6, "torch.int8"},
        {BYTES(ONE(TENSOR("ByteStorage"))), IR_U8, 6, "torch.uint8"},
        {BYTES(ONE(TENSOR("BoolStorage"))), IR_N_DTYPES, 6, "torch.bool"},
        {BYTES(ONE(TENSOR("DoubleStorage"))), IR_N_DTYPES, 48, "torch.float64"},
        {BYTES(ONE(TENSOR("ComplexDoubleStorage"))), IR_N_DTYPES, 96, "torch.complex128"},
        {BYTES(ONE(REBUILD_V3
                   "(" TEXT("\x07", "storage") "ctorch.storage\nUntypedStorage\n" TEXT("\x01", "0")
                       TEXT("\x03", "cpu") "K\x06tQK\0K\x02K\x03\x86K\x03K\x01\x86\x89" DICT CLASS(
                           "float8_e4m3fn") "tR")),
         IR_F8E4M3, 6, "torch.float8_e4m3fn"},
        {BYTES(ONE(REBUILD_V3
                   "(" TEXT("\x07", "storage") "ctorch.storage\nUntypedStorage\n" TEXT("\x01", "0")
                       TEXT("\x03", "cpu") "K\x18tQK\0K\x02K\x03\x86K\x03K\x01\x86\x89" DICT CLASS(
                           "uint32") "}tR")),
         IR_U32, 24, "torch.uint32"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_torch_pickle pickle;
        expect_ok(parse(*state, cases[i].program, cases[i].n, &pickle));
        assert_int_equal(pickle.n_tensors, 1);
        assert_int_equal(pickle.tensors[0].tensor.dtype, cases[i].dtype);
        assert_int_equal(pickle.tensors[0].tensor.size_bytes, cases[i].size_bytes);
        assert_string_equal(pickle.tensors[0].tensor.dtype_text, cases[i].text);
    }
}

// Orders and places of elements: strides, offsets, axes of length one, nothing at all.
static void test_shapes(void **state) {
    static const struct {
        const char *program;
        size_t n;
        int32_t rank;
        bool is_contiguous;
        uint64_t offset_bytes, span_bytes, size_bytes;
    } cases[] = {
        {BYTES(ONE(SHAPED("K\x06", "K\0", "K\x03K\x02\x86", "K\x01K\x03\x86"))), 2, false, 0, 24,
         24},
        {BYTES(ONE(SHAPED("K\x06", "K\x01", "K\x02K\x02\x86", "K\x03K\x01\x86"))), 2, false, 4, 20,
         16},
        {BYTES(ONE(SHAPED("K\x06", "K\x02", "K\x04\x85", "K\x01\x85"))), 1, true, 8, 16, 16},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "K\x01K\x06\x86", "K\x63K\x01\x86"))), 2, true, 0, 24,
         24},
        {BYTES(ONE(SHAPED("K\x06", "K\x05", ")", ")"))), 0, true, 20, 4, 4},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "K\0K\x02\x86", "K\x02K\x01\x86"))), 2, true, 0, 0, 0},
        {BYTES(ONE(SHAPED("K\0", "K\0", "K\0\x85", "K\x01\x85"))), 1, true, 0, 0, 0},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "ctorch\nSize\n(K\x06t\x85R", "K\x01\x85"))), 1, true, 0,
         24, 24},
        {BYTES(ONE(SHAPED("M\0\x01", "K\0", "\x8a\x02\0\x01\x85", "J\x01\0\0\0\x85"))), 1, true, 0,
         1024, 1024},
        {BYTES(ONE(SHAPED("K\x02", "K\0", "K\x64\x85", "K\0\x85"))), 1, false, 0, 4, 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hf_torch_pickle pickle;
        expect_ok(parse(*state, cases[i].program, cases[i].n, &pickle));
        const hf_torch_tensor *w = &pickle.tensors[0];
        assert_int_equal(w->tensor.rank, cases[i].rank);
        assert_int_equal(w->is_contiguous, cases[i].is_contiguous);
        assert_int_equal(w->offset_bytes, cases[i].offset_bytes);
        assert_int_equal(w->span_bytes, cases[i].span_bytes);
        assert_int_equal(w->tensor.size_bytes, cases[i].size_bytes);
    }
}

// What surrounds tensors in real files: the attribute of the dictionary, other entries, a trainer's dictionary around it, a dictionary in itself.
static void test_surroundings(void **state) {
    hf_torch_pickle pickle;
    expect_ok(parse(
        *state,
        BYTES(PROTO DICT "q\0(" TEXT("\x01", "w") TENSOR("FloatStorage") TEXT(
            "\x05", "steps") "K\x07" TEXT("\x04", "list") "](K\x01G\x3f\xf0\0\0\0\0\0\0NeK\x02"
                                                          "a"
                                                          "u}" TEXT("\x09", "_metadata") DICT
              "(X\0\0\0\0}" TEXT("\x07", "version") "K\x01su"
                                                    "sb."),
        &pickle));
    assert_int_equal(pickle.n_tensors, 1);
    assert_int_equal(pickle.n_ignored, 2);
    assert_string_equal(pickle.first_ignored, "steps");

    expect_ok(parse(
        *state,
        BYTES(PROTO "}(" TEXT("\x05", "epoch") "K\x03" TEXT("\x05", "model") "}(" TEXT("\x01", "a")
                  TENSOR("FloatStorage") TEXT("\x01", "b") TENSOR("FloatStorage") "uu."),
        &pickle));
    assert_int_equal(pickle.n_tensors, 2);
    assert_int_equal(pickle.n_storages, 1); // one storage, two tensors
    assert_int_equal(pickle.n_ignored, 0);

    expect_ok(parse(
        *state,
        BYTES(PROTO "}q\0(" TEXT("\x04", "self") "h\0" TEXT("\x01", "a") TENSOR("IntStorage") "u."),
        &pickle));
    assert_int_equal(pickle.n_tensors, 1);

    expect_ok(parse(
        *state,
        BYTES(PROTO "}" TEXT("\x01", "p") "ctorch._utils\n_rebuild_parameter\n(" TENSOR(
            "HalfStorage") TAIL "s."),
        &pickle));
    assert_int_equal(pickle.tensors[0].tensor.dtype, IR_F16);
}

// Protocol 4: frames, short texts, globals from the stack, memo without numbers.
static void test_protocol_4(void **state) {
    hf_torch_pickle pickle;
#define BODY \
    "}\x94\x8c\x01w\x94\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94((" \
    "\x8c\x07storage\x94\x8c\x05torch\x94" \
    "\x8c\x0c" \
    "FloatStorage\x94\x93\x94\x8d\x01\0\0\0\0\0\0\0" \
    "0\x94\x8c\x03" \
    "cpu\x94K\x02tQK\0K\x02\x85K\x01\x85\x89}tRs."
    expect_ok(parse(*state, BYTES("\x80\x04\x95\x74\0\0\0\0\0\0\0" BODY), &pickle));
    assert_int_equal(pickle.n_tensors, 1);
    assert_int_equal(pickle.tensors[0].tensor.size_bytes, 8);
    expect_error(
        parse(*state, BYTES("\x80\x04\x95\xff\0\0\0\0\0\0\0" BODY), &pickle), MLCC_INVALID,
        "frame of 255 bytes", "FRAME at byte 2", NULL);
#undef BODY
}

typedef struct bad_case {
    const char *program;
    size_t n;
    const char *message;
} bad_case;

static void expect_bad(fixture *self, const bad_case *cases, size_t n_cases) {
    for (size_t i = 0; i < n_cases; i++) {
        hf_torch_pickle pickle;
        expect_error(
            parse(self, cases[i].program, cases[i].n, &pickle), MLCC_INVALID, cases[i].message,
            "x.bin", NULL);
    }
}

static void test_forbidden(void **state) {
    static const bad_case cases[] = {
        {BYTES(PROTO "cposix\nsystem\n(" TEXT("\x06", "rm -rf") "tR."),
         "forbidden global 'posix system'"},
        {BYTES("\x80\x04\x8c\x08"
               "builtins\x8c\x04"
               "eval\x93."),
         "forbidden global 'builtins eval'"},
        {BYTES(PROTO "ctorch\nload\n."), "forbidden global 'torch load'"},
        {BYTES(PROTO "c\x01\x1b[31m\n\xff\n."), "forbidden global '??[31m ?'"},
        {BYTES(PROTO "c\n\n."), "forbidden global ' '"},
        {BYTES(PROTO "cpo\0ix\nsystem\n."), "forbidden global 'po?ix system'"},
        {BYTES(PROTO "ctorch._utils\n_rebuild_qtensor\n."),
         "forbidden global 'torch._utils _rebuild_qtensor'"},
        {BYTES(PROTO "(iposix\nsystem\n."), "forbidden opcode 0x69 (INST) at byte 3"},
        {BYTES(PROTO "(o."), "forbidden opcode 0x6f (OBJ)"},
        {BYTES(PROTO ")\x81."), "forbidden opcode 0x81 (NEWOBJ) at byte 3"},
        {BYTES(PROTO "))}\x92."), "forbidden opcode 0x92 (NEWOBJ_EX)"},
        {BYTES(PROTO "\x82\x01."), "forbidden opcode 0x82 (EXT1)"},
        {BYTES(PROTO "Pid\n."), "forbidden opcode 0x50 (PERSID)"},
        {BYTES(PROTO "C\x01"
                     "a."),
         "forbidden opcode 0x43 (SHORT_BINBYTES)"},
        {BYTES(PROTO "\xff."), "forbidden opcode 0xff at byte 2"},
        {BYTES(PROTO CLASS("float32") ")R."), "forbidden call of 'torch float32'"},
        {BYTES(PROTO CLASS("HalfStorage") "K\x05\x85R."), "forbidden call of 'torch HalfStorage'"},
        {BYTES(PROTO "K\x01)R."), "an integer is called with a tuple"},
        {BYTES(PROTO DICT ")R."), "a dictionary is called with a tuple"},
        {BYTES(PROTO "K\x01}b."), "the top of the stack is an integer; expected a dictionary"},
        {BYTES(PROTO DICT "K\x01"
                          "b."),
         "attributes are set from an integer"},
    };
    expect_bad(*state, cases, sizeof cases / sizeof cases[0]);
}

static void test_malformed(void **state) {
    static const bad_case cases[] = {
        {BYTES(""), "does not begin with a pickle protocol"},
        {BYTES("}."), "does not begin with a pickle protocol"},
        {BYTES("\x80\x01}."), "pickle protocol 1; accepted are 2 to 5"},
        {BYTES("\x80\x06}."), "pickle protocol 6"},
        {BYTES(PROTO "}" PROTO "."), "only there"},
        {BYTES(PROTO), "the program ends"},
        {BYTES(PROTO "}"), "the program ends"},
        {BYTES(PROTO "M\x01"), "2 bytes are needed and 1 are left"},
        {BYTES(PROTO "X\xff\xff\xff\xff"
                     "abc"),
         "4294967295 bytes are needed and 3 are left"},
        {BYTES(PROTO "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
                     "abc"),
         "18446744073709551615 bytes are needed"},
        {BYTES(PROTO "\x8a\x09"
                     "123456789."),
         "an integer of 9 bytes; at most 8"},
        {BYTES(PROTO "."), "stops with 0 values"},
        {BYTES(PROTO "}}."), "stops with 2 values"},
        {BYTES(PROTO "(."), "stops with 1 values"},
        {BYTES(PROTO "}.}"), "1 bytes follow the end"},
        {BYTES(PROTO "t."), "no mark"},
        {BYTES(PROTO "K\x01\x86."), "no value to take"},
        {BYTES(PROTO "(\x85."), "no value to take"},
        {BYTES(PROTO "(K\x01K\x02u."), "the top of the stack is missing"},
        {BYTES(PROTO "}(K\x01u."), "1 values for a dictionary are no pairs"},
        {BYTES(PROTO "]K\x01K\x02s."), "the top of the stack is a list; expected a dictionary"},
        {BYTES(PROTO "}K\x01"
                     "a."),
         "the top of the stack is a dictionary; expected a list"},
        {BYTES(PROTO "h\0."), "memo slot 0 was never filled"},
        {BYTES(PROTO "}q\x05h\x04."), "memo slot 4 was never filled"},
        {BYTES(PROTO "j\xff\xff\xff\xff."), "memo slot 4294967295 was never filled"},
        {BYTES(PROTO "}r\xff\xff\xff\xff."), "memo slot 4294967295; at most"},
        {BYTES(PROTO "q\0."), "no value to remember"},
        {BYTES(PROTO "(q\0."), "no value to remember"},
        {BYTES(PROTO "ctorch\nHalf"), "the name of a global does not end"},
        {BYTES(PROTO "c"), "the name of a global does not end"},
        {BYTES(PROTO "K\x01K\x02\x93."), "a global is named by an integer and an integer"},
        {BYTES(PROTO "K\x01Q."), "a persistent id is not ('storage'"},
        {BYTES(PROTO "(" TEXT("\x07", "storage") "K\x01tQ."), "a persistent id is not ('storage'"},
        {BYTES(PROTO STORAGE("float32", "K\x01")), "'torch float32' is no class of storages"},
        {BYTES(PROTO STORAGE("FloatStorage", "J\xff\xff\xff\xff")),
         "storage '0' claims -1 elements"},
        {BYTES(PROTO STORAGE("FloatStorage", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f")),
         "storage '0' claims 9223372036854775807 elements"},
        {BYTES(PROTO STORAGE("FloatStorage", "K\x01") STORAGE("FloatStorage", "K\x02")),
         "storage '0' has 8 bytes here and 4 bytes elsewhere"},
        {BYTES(PROTO "(" TEXT("\x07", "storage") CLASS("HalfStorage") TEXT("\x04", "../0")
                   TEXT("\x03", "cpu") "K\x01tQ."),
         "storage key '../0' is not"},
        {BYTES(PROTO "(" TEXT("\x07", "storage") CLASS("HalfStorage") TEXT("\0", "")
                   TEXT("\x03", "cpu") "K\x01tQ."),
         "storage key '' is not"},
        {BYTES(PROTO "ccollections\nOrderedDict\nK\x01\x85R."), "OrderedDict has 1 arguments"},
        {BYTES(PROTO "ctorch\nSize\n)R."), "torch.Size is not called with one tuple"},
        {BYTES(PROTO "ctorch._utils\n_rebuild_tensor_v2\nK\x01\x85R."),
         "_rebuild_tensor_v2 has 1 arguments; expected 6 or 7"},
        {BYTES(PROTO "ctorch._utils\n_rebuild_parameter\nK\x01\x85R."),
         "_rebuild_parameter is not called"},
    };
    expect_bad(*state, cases, sizeof cases / sizeof cases[0]);
}

static void test_bad_tensors(void **state) {
    static const bad_case cases[] = {
        {BYTES(PROTO "}."), "the dictionary has 0 entries and none is a tensor"},
        {BYTES(PROTO "}" TEXT("\x01", "w") "K\x01s."),
         "the dictionary has 1 entries ('w', …) and none is a tensor"},
        {BYTES(PROTO "K\x01."), "the file holds an integer; expected a dictionary of tensors"},
        {BYTES(PROTO TENSOR("HalfStorage") "."), "the file holds a tensor; expected a dictionary"},
        {BYTES(PROTO "}K\x01" TENSOR("HalfStorage") "s."),
         "its name is an integer; expected a text"},
        {BYTES(PROTO "}" TEXT("\0", "") TENSOR("HalfStorage") "s."), "its name has 0 bytes"},
        {BYTES(PROTO "}" TEXT("\x03", "a\0b") TENSOR("HalfStorage") "s."), "holds the byte 0x00"},
        {BYTES(PROTO "}" TEXT(
             "\x03", "a\xff"
                     "b") TENSOR("HalfStorage") "s."),
         "'a?b' holds the byte 0xff"},
        {BYTES(PROTO "}" TEXT("\x01", "w") TENSOR("HalfStorage") "s" TEXT("\x01", "w")
                   TENSOR("HalfStorage") "s."),
         "tensor 'w' stands there twice"},
        {BYTES(ONE(SHAPED("K\x05", "K\0", "K\x02K\x03\x86", "K\x03K\x01\x86"))), "tensor 'w'"},
        {BYTES(ONE(SHAPED("K\x05", "K\0", "K\x02K\x03\x86", "K\x03K\x01\x86"))),
         "reaches beyond its storage '0'"},
        {BYTES(ONE(SHAPED("K\x06", "K\x01", "K\x06\x85", "K\x01\x85"))),
         "reaches beyond its storage '0'"},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "K\x02K\x02\x86", "K\x01J\xff\xff\xff\x7f\x86"))),
         "reaches beyond"},
        {BYTES(ONE(SHAPED(
             "K\x06", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x02\x85", "K\x01\x85"))),
         "reaches beyond"},
        {BYTES(ONE(
             SHAPED("K\x06", "K\0", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", "K\x01\x85"))),
         "64 bits"},
        {BYTES(
             ONE(SHAPED("K\x06", "K\0", "J\0\0\0\x40J\0\0\0\x40J\0\0\0\x40\x87", "K\0K\0K\0\x87"))),
         "64 bits"},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "J\xff\xff\xff\xff\x85", "K\x01\x85"))),
         "its size holds -1"},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "K\x02\x85", "J\xff\xff\xff\xff\x85"))),
         "its stride holds -1"},
        {BYTES(ONE(SHAPED("K\x06", "J\xff\xff\xff\xff", "K\x02\x85", "K\x01\x85"))),
         "its storage offset is -1"},
        {BYTES(ONE(SHAPED("K\x06", "N", "K\x02\x85", "K\x01\x85"))),
         "its storage offset is None; expected an integer"},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "K\x02", "K\x01\x85"))),
         "its size is an integer; expected a tuple"},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "N\x85", "K\x01\x85"))),
         "its size is None; expected an integer"},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "(K\1K\1K\1K\1K\1K\1K\1t", "K\x01\x85"))),
         "7 dimensions; at most 6"},
        {BYTES(ONE(SHAPED("K\x06", "K\0", "K\x02\x85", "K\x01K\x01\x86"))),
         "1 dimensions and 2 strides"},
        {BYTES(ONE(REBUILD "K\x01K\0K\x02\x85K\x01\x85" TAIL)),
         "its storage is an integer; expected a storage"},
        {BYTES(ONE(REBUILD STORAGE("UntypedStorage", "K\x08") "K\0K\x02\x85K\x01\x85" TAIL)),
         "its storage is untyped"},
        {BYTES(ONE(REBUILD STORAGE("FloatStorage", "K\x08") "K\0K\x02\x85K\x01\x85\x89}}" TEXT(
             "\x04", "conj") "\x88stR")),
         "it carries metadata"},
        {BYTES(ONE(REBUILD_V3 STORAGE("UntypedStorage", "K\x08") "K\0K\x02\x85K\x01\x85\x89}" CLASS(
             "HalfStorage") "tR")),
         "its dtype is 'torch HalfStorage'"},
        {BYTES(ONE(
             REBUILD_V3 STORAGE("UntypedStorage", "K\x08") "K\0K\x02\x85K\x01\x85\x89}K\x01tR")),
         "its dtype is an integer; expected a global"},
    };
    expect_bad(*state, cases, sizeof cases / sizeof cases[0]);
}

// Programs that grow: each within its limits, none by recursion.
static void test_limits(void **state) {
    hf_torch_pickle pickle;
    mlcc_str program = {0};
    mlcc_str_append(&program, BYTES(PROTO));
    for (size_t i = 0; i < 100000; i++)
        mlcc_str_putc(&program, ']'); // nested a hundred thousand deep
    for (size_t i = 0; i < 99999; i++) mlcc_str_putc(&program, 'a');
    mlcc_str_putc(&program, '.');
    expect_error(
        parse(*state, program.data, program.length, &pickle), MLCC_INVALID, "the file holds a list",
        NULL);

    mlcc_str_clear(&program);
    mlcc_str_append(&program, BYTES(PROTO "}"));
    for (size_t i = 0; i < ((size_t)4 << 20); i++) mlcc_str_append(&program, BYTES("q\0"));
    mlcc_str_putc(&program, '.');
    expect_error(
        parse(*state, program.data, program.length, &pickle), MLCC_UNSUPPORTED,
        "more than 4194304 opcodes", NULL);

    mlcc_str_clear(&program);
    mlcc_str_append(&program, BYTES(PROTO "}X\x01\x04\0\0"));
    for (size_t i = 0; i < 1025; i++) mlcc_str_putc(&program, 'n');
    mlcc_str_append(&program, BYTES(TENSOR("HalfStorage") "s."));
    expect_error(
        parse(*state, program.data, program.length, &pickle), MLCC_INVALID,
        "its name has 1025 bytes; accepted are 1 to 1024", NULL);

    mlcc_str_clear(&program);
    mlcc_str_append(&program, BYTES(PROTO "c"));
    for (size_t i = 0; i < 100000; i++) mlcc_str_putc(&program, 'n');
    mlcc_str_append(&program, BYTES("\nx\n."));
    expect_error(
        parse(*state, program.data, program.length, &pickle), MLCC_INVALID,
        "does not end within 512 bytes", NULL);
    mlcc_str_free(&program);
}

// Every beginning of a good program is an error and nothing worse.
static void test_truncated(void **state) {
    static const char program[] = ONE(TENSOR("HalfStorage"));
    for (size_t n = 0; n < sizeof program - 1; n++) {
        hf_torch_pickle pickle;
        expect_error(parse(*state, program, n, &pickle), MLCC_INVALID, "x.bin", NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_tensor, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_dtypes, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_shapes, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_surroundings, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_protocol_4, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_forbidden, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_malformed, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_bad_tensors, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_limits, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_truncated, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
