// The pickle machine: one table row per opcode, a stack, a memo.
#include "frontend/hf/torch_pickle.h"

#include "frontend/hf/torch_objects.h"

#include <string.h>

#define MAX_OPCODES     ((size_t)4 << 20)
#define MAX_LINE_BYTES  512 // of a global's module or name
#define FIRST_PROTOCOL  2
#define LAST_PROTOCOL   5
#define MAX_LONG_BYTES  8
#define OPCODE_PROTOCOL 0x80

typedef struct machine {
    const unsigned char *bytes;
    size_t size_bytes, position;
    hf_torch_objects objects;
    hf_torch_value **stack;
    size_t n_stack, stack_capacity;
    hf_torch_value **memo; // NULL where nothing was put
    size_t memo_capacity, n_memo;
    bool is_finished;
} machine;

// An opcode without `run` is forbidden. `immediate_bytes` follow it, little endian, and are handed to `run`.
typedef struct opcode_row {
    const char *name;
    unsigned immediate_bytes;
    mlcc_status *(*run)(machine *self, uint64_t immediate);
} opcode_row;

static mlcc_status *push(machine *self, hf_torch_value *value) {
    MLCC_ARENA_GROW(self->objects.scratch, self->stack, self->n_stack, self->stack_capacity);
    self->stack[self->n_stack++] = value;
    return NULL;
}

static mlcc_status *push_new(machine *self, hf_torch_kind kind) {
    return push(self, hf_torch_value_new(self->objects.scratch, kind));
}

static mlcc_status *push_int(machine *self, hf_torch_kind kind, int64_t integer) {
    hf_torch_value *value = hf_torch_value_new(self->objects.scratch, kind);
    value->as.integer = integer;
    return push(self, value);
}

// A value proper: a mark is never popped by it.
static mlcc_status *pop(machine *self, hf_torch_value **out) {
    *out = NULL;
    if (self->n_stack == 0 || self->stack[self->n_stack - 1]->kind == HF_TORCH_MARK)
        return MLCC_ERROR(INVALID, "the stack holds no value to take");
    *out = self->stack[--self->n_stack];
    return NULL;
}

static mlcc_status *peek(const machine *self, hf_torch_kind kind, hf_torch_value **out) {
    const hf_torch_value wanted = {.kind = kind};
    *out = self->n_stack > 0 ? self->stack[self->n_stack - 1] : NULL;
    if (*out == NULL || (*out)->kind != kind)
        return MLCC_ERROR(
            INVALID, "the top of the stack is %s; expected %s",
            *out == NULL ? "missing" : hf_torch_kind_text(*out), hf_torch_kind_text(&wanted));
    return NULL;
}

// Takes everything above the topmost mark, and the mark. The values stay readable until the next push.
static mlcc_status *pop_to_mark(machine *self, hf_torch_value ***items, size_t *n_items) {
    size_t mark = self->n_stack;
    while (mark > 0 && self->stack[mark - 1]->kind != HF_TORCH_MARK) mark--;
    if (mark == 0) return MLCC_ERROR(INVALID, "the stack holds no mark");
    *items = self->stack + mark;
    *n_items = self->n_stack - mark;
    self->n_stack = mark - 1;
    return NULL;
}

// The next `count` bytes of the program.
static mlcc_status *take(machine *self, uint64_t count, const unsigned char **out) {
    if (count > self->size_bytes - self->position)
        return MLCC_ERROR(
            INVALID, "the program ends: %llu bytes are needed and %zu are left",
            (unsigned long long)count, self->size_bytes - self->position);
    *out = self->bytes + self->position;
    self->position += (size_t)count;
    return NULL;
}

static uint64_t little_endian(const unsigned char *bytes, unsigned count) {
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

// ---- opcodes --------------------------------------------------------------------------------------------------------------------------------

static mlcc_status *run_proto(machine *self, uint64_t version) {
    if (version < FIRST_PROTOCOL || version > LAST_PROTOCOL)
        return MLCC_ERROR(
            INVALID, "pickle protocol %llu; accepted are %d to %d", (unsigned long long)version,
            FIRST_PROTOCOL, LAST_PROTOCOL);
    if (self->position != 2)
        return MLCC_ERROR(INVALID, "the protocol stands at the beginning and only there");
    return NULL;
}

// A frame says how far a reader may read ahead; all of it is in memory already.
static mlcc_status *run_frame(machine *self, uint64_t size_bytes) {
    if (size_bytes > self->size_bytes - self->position)
        return MLCC_ERROR(
            INVALID, "a frame of %llu bytes reaches beyond the program, which has %zu left",
            (unsigned long long)size_bytes, self->size_bytes - self->position);
    return NULL;
}

static mlcc_status *run_stop(machine *self, uint64_t immediate) {
    (void)immediate;
    if (self->n_stack != 1 || self->stack[0]->kind == HF_TORCH_MARK)
        return MLCC_ERROR(
            INVALID, "the program stops with %zu values on the stack; expected one", self->n_stack);
    if (self->position != self->size_bytes)
        return MLCC_ERROR(
            INVALID, "%zu bytes follow the end of the program", self->size_bytes - self->position);
    self->is_finished = true;
    return NULL;
}

static mlcc_status *run_mark(machine *self, uint64_t immediate) {
    (void)immediate;
    return push_new(self, HF_TORCH_MARK);
}

static mlcc_status *run_none(machine *self, uint64_t immediate) {
    (void)immediate;
    return push_new(self, HF_TORCH_NONE);
}

static mlcc_status *run_true(machine *self, uint64_t immediate) {
    (void)immediate;
    return push_int(self, HF_TORCH_BOOL, 1);
}

static mlcc_status *run_false(machine *self, uint64_t immediate) {
    (void)immediate;
    return push_int(self, HF_TORCH_BOOL, 0);
}

static mlcc_status *run_unsigned(machine *self, uint64_t immediate) {
    return push_int(self, HF_TORCH_INT, (int64_t)immediate);
}

static mlcc_status *run_int32(machine *self, uint64_t immediate) {
    return push_int(self, HF_TORCH_INT, (int32_t)(uint32_t)immediate);
}

// Two's complement of any length; nothing in a state dictionary needs more than 64 bits.
static mlcc_status *run_long(machine *self, uint64_t n_bytes) {
    const unsigned char *bytes = NULL;
    if (n_bytes > MAX_LONG_BYTES)
        return MLCC_ERROR(
            INVALID, "an integer of %llu bytes; at most %d are accepted",
            (unsigned long long)n_bytes, MAX_LONG_BYTES);
    MLCC_TRY(take(self, n_bytes, &bytes));
    uint64_t value = little_endian(bytes, (unsigned)n_bytes);
    if (n_bytes > 0 && n_bytes < MAX_LONG_BYTES && (bytes[n_bytes - 1] & 0x80u) != 0)
        value |= UINT64_MAX << (8 * n_bytes);
    return push_int(self, HF_TORCH_INT, (int64_t)value);
}

static mlcc_status *run_float(machine *self, uint64_t immediate) {
    (void)immediate;
    return push_new(self, HF_TORCH_REAL);
}

static mlcc_status *run_text(machine *self, uint64_t length) {
    const unsigned char *bytes = NULL;
    MLCC_TRY(take(self, length, &bytes));
    hf_torch_value *value = hf_torch_value_new(self->objects.scratch, HF_TORCH_TEXT);
    value->as.text = (hf_torch_text){(const char *)bytes, (size_t)length};
    return push(self, value);
}

static mlcc_status *run_empty_tuple(machine *self, uint64_t immediate) {
    (void)immediate;
    return push_new(self, HF_TORCH_TUPLE);
}

static mlcc_status *run_empty_list(machine *self, uint64_t immediate) {
    (void)immediate;
    return push_new(self, HF_TORCH_LIST);
}

static mlcc_status *run_empty_dict(machine *self, uint64_t immediate) {
    (void)immediate;
    return push_new(self, HF_TORCH_DICT);
}

static mlcc_status *push_tuple(machine *self, hf_torch_value *const *items, size_t n_items) {
    hf_torch_value *tuple = hf_torch_value_new(self->objects.scratch, HF_TORCH_TUPLE);
    tuple->as.items.data = MLCC_NEW_ARRAY(self->objects.scratch, hf_torch_value *, n_items);
    tuple->as.items.n = tuple->as.items.capacity = (uint32_t)n_items;
    for (size_t i = 0; i < n_items; i++) tuple->as.items.data[i] = items[i];
    return push(self, tuple);
}

static mlcc_status *run_tuple(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value **items = NULL;
    size_t n_items = 0;
    MLCC_TRY(pop_to_mark(self, &items, &n_items));
    return push_tuple(self, items, n_items);
}

static mlcc_status *pop_tuple(machine *self, size_t n_items) {
    hf_torch_value *items[3];
    for (size_t i = n_items; i-- > 0;) MLCC_TRY(pop(self, &items[i]));
    return push_tuple(self, items, n_items);
}

static mlcc_status *run_tuple1(machine *self, uint64_t immediate) {
    (void)immediate;
    return pop_tuple(self, 1);
}

static mlcc_status *run_tuple2(machine *self, uint64_t immediate) {
    (void)immediate;
    return pop_tuple(self, 2);
}

static mlcc_status *run_tuple3(machine *self, uint64_t immediate) {
    (void)immediate;
    return pop_tuple(self, 3);
}

static mlcc_status *run_append(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value *item = NULL, *list = NULL;
    MLCC_TRY(pop(self, &item));
    MLCC_TRY(peek(self, HF_TORCH_LIST, &list));
    hf_torch_items_add(self->objects.scratch, &list->as.items, item);
    return NULL;
}

static mlcc_status *run_appends(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value **items = NULL, *list = NULL;
    size_t n_items = 0;
    MLCC_TRY(pop_to_mark(self, &items, &n_items));
    MLCC_TRY(peek(self, HF_TORCH_LIST, &list));
    for (size_t i = 0; i < n_items; i++)
        hf_torch_items_add(self->objects.scratch, &list->as.items, items[i]);
    return NULL;
}

static mlcc_status *run_setitem(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value *key = NULL, *item = NULL, *dict = NULL;
    MLCC_TRY(pop(self, &item));
    MLCC_TRY(pop(self, &key));
    MLCC_TRY(peek(self, HF_TORCH_DICT, &dict));
    hf_torch_items_add(self->objects.scratch, &dict->as.items, key);
    hf_torch_items_add(self->objects.scratch, &dict->as.items, item);
    return NULL;
}

static mlcc_status *run_setitems(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value **items = NULL, *dict = NULL;
    size_t n_items = 0;
    MLCC_TRY(pop_to_mark(self, &items, &n_items));
    MLCC_TRY(peek(self, HF_TORCH_DICT, &dict));
    if (n_items % 2 != 0)
        return MLCC_ERROR(INVALID, "%zu values for a dictionary are no pairs", n_items);
    for (size_t i = 0; i < n_items; i++)
        hf_torch_items_add(self->objects.scratch, &dict->as.items, items[i]);
    return NULL;
}

static mlcc_status *put(machine *self, uint64_t index) {
    if (self->n_stack == 0 || self->stack[self->n_stack - 1]->kind == HF_TORCH_MARK)
        return MLCC_ERROR(INVALID, "the stack holds no value to remember");
    if (index >= MAX_OPCODES)
        return MLCC_ERROR(
            INVALID, "memo slot %llu; at most %zu slots are accepted", (unsigned long long)index,
            MAX_OPCODES);
    while (index >= self->memo_capacity) // grown by doubling; new slots are NULL
        MLCC_ARENA_GROW(
            self->objects.scratch, self->memo, self->memo_capacity, self->memo_capacity);
    if (self->memo[index] == NULL) self->n_memo++;
    self->memo[index] = self->stack[self->n_stack - 1];
    return NULL;
}

static mlcc_status *memoize(machine *self, uint64_t immediate) {
    (void)immediate;
    return put(self, self->n_memo);
}

static mlcc_status *get(machine *self, uint64_t index) {
    if (index >= self->memo_capacity || self->memo[index] == NULL)
        return MLCC_ERROR(INVALID, "memo slot %llu was never filled", (unsigned long long)index);
    return push(self, self->memo[index]);
}

static mlcc_status *take_line(machine *self, hf_torch_text *out) {
    const unsigned char *begin = self->bytes + self->position;
    const size_t n_left = self->size_bytes - self->position;
    const size_t n_looked_at = n_left < MAX_LINE_BYTES ? n_left : MAX_LINE_BYTES;
    const unsigned char *end = n_left > 0 ? memchr(begin, '\n', n_looked_at) : NULL;
    if (end == NULL)
        return MLCC_ERROR(
            INVALID, "the name of a global does not end within %zu bytes", n_looked_at);
    *out = (hf_torch_text){(const char *)begin, (size_t)(end - begin)};
    self->position += out->length + 1;
    return NULL;
}

static mlcc_status *push_global(machine *self, hf_torch_text module, hf_torch_text name) {
    const hf_torch_global *global = NULL;
    MLCC_TRY(hf_torch_global_find(&self->objects, module, name, &global));
    hf_torch_value *value = hf_torch_value_new(self->objects.scratch, HF_TORCH_GLOBAL);
    value->as.global = global;
    return push(self, value);
}

static mlcc_status *run_global(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_text module, name;
    MLCC_TRY(take_line(self, &module));
    MLCC_TRY(take_line(self, &name));
    return push_global(self, module, name);
}

static mlcc_status *run_stack_global(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value *module = NULL, *name = NULL;
    MLCC_TRY(pop(self, &name));
    MLCC_TRY(pop(self, &module));
    if (module->kind != HF_TORCH_TEXT || name->kind != HF_TORCH_TEXT)
        return MLCC_ERROR(
            INVALID, "a global is named by %s and %s; expected two texts",
            hf_torch_kind_text(module), hf_torch_kind_text(name));
    return push_global(self, module->as.text, name->as.text);
}

static mlcc_status *run_persistent_id(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value *id = NULL, *storage = NULL;
    MLCC_TRY(pop(self, &id));
    MLCC_TRY(hf_torch_load_storage(&self->objects, id, &storage));
    return push(self, storage);
}

static mlcc_status *run_reduce(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value *arguments = NULL, *callee = NULL, *result = NULL;
    MLCC_TRY(pop(self, &arguments));
    MLCC_TRY(pop(self, &callee));
    MLCC_TRY(hf_torch_call(&self->objects, callee, arguments, &result));
    return push(self, result);
}

// Sets attributes of an object. A state dictionary has one, _metadata (module versions), which says nothing about the numbers.
static mlcc_status *run_build(machine *self, uint64_t immediate) {
    (void)immediate;
    hf_torch_value *state = NULL, *dict = NULL;
    MLCC_TRY(pop(self, &state));
    MLCC_TRY(peek(self, HF_TORCH_DICT, &dict));
    if (state->kind != HF_TORCH_DICT)
        return MLCC_ERROR(
            INVALID, "attributes are set from %s; expected a dictionary",
            hf_torch_kind_text(state));
    return NULL;
}

// clang-format off
static const opcode_row opcodes[256] = {
    [OPCODE_PROTOCOL] = {"PROTO",        1, run_proto},
    [0x95] = {"FRAME",            8, run_frame},
    ['.']  = {"STOP",             0, run_stop},
    ['(']  = {"MARK",             0, run_mark},
    ['N']  = {"NONE",             0, run_none},
    [0x88] = {"NEWTRUE",          0, run_true},
    [0x89] = {"NEWFALSE",         0, run_false},
    ['K']  = {"BININT1",          1, run_unsigned},
    ['M']  = {"BININT2",          2, run_unsigned},
    ['J']  = {"BININT",           4, run_int32},
    [0x8a] = {"LONG1",            1, run_long},
    ['G']  = {"BINFLOAT",         8, run_float},
    [0x8c] = {"SHORT_BINUNICODE", 1, run_text},
    ['X']  = {"BINUNICODE",       4, run_text},
    [0x8d] = {"BINUNICODE8",      8, run_text},
    [')']  = {"EMPTY_TUPLE",      0, run_empty_tuple},
    ['t']  = {"TUPLE",            0, run_tuple},
    [0x85] = {"TUPLE1",           0, run_tuple1},
    [0x86] = {"TUPLE2",           0, run_tuple2},
    [0x87] = {"TUPLE3",           0, run_tuple3},
    [']']  = {"EMPTY_LIST",       0, run_empty_list},
    ['a']  = {"APPEND",           0, run_append},
    ['e']  = {"APPENDS",          0, run_appends},
    ['}']  = {"EMPTY_DICT",       0, run_empty_dict},
    ['s']  = {"SETITEM",          0, run_setitem},
    ['u']  = {"SETITEMS",         0, run_setitems},
    ['q']  = {"BINPUT",           1, put},
    ['r']  = {"LONG_BINPUT",      4, put},
    [0x94] = {"MEMOIZE",          0, memoize},
    ['h']  = {"BINGET",           1, get},
    ['j']  = {"LONG_BINGET",      4, get},
    ['c']  = {"GLOBAL",           0, run_global},
    [0x93] = {"STACK_GLOBAL",     0, run_stack_global},
    ['Q']  = {"BINPERSID",        0, run_persistent_id},
    ['R']  = {"REDUCE",           0, run_reduce},
    ['b']  = {"BUILD",            0, run_build},
    // Forbidden, but known by name.
    ['i']  = {"INST",             0, NULL},
    ['o']  = {"OBJ",              0, NULL},
    [0x81] = {"NEWOBJ",           0, NULL},
    [0x92] = {"NEWOBJ_EX",        0, NULL},
    [0x82] = {"EXT1",             0, NULL},
    [0x83] = {"EXT2",             0, NULL},
    [0x84] = {"EXT4",             0, NULL},
    ['P']  = {"PERSID",           0, NULL},
    ['B']  = {"BINBYTES",         0, NULL},
    ['C']  = {"SHORT_BINBYTES",   0, NULL},
    [0x8e] = {"BINBYTES8",        0, NULL},
    [0x96] = {"BYTEARRAY8",       0, NULL},
    ['T']  = {"BINSTRING",        0, NULL},
    ['U']  = {"SHORT_BINSTRING",  0, NULL},
    [0x8f] = {"EMPTY_SET",        0, NULL},
    [0x8b] = {"LONG4",            0, NULL},
    ['I']  = {"INT",              0, NULL},
    ['S']  = {"STRING",           0, NULL},
    ['0']  = {"POP",              0, NULL},
    ['1']  = {"POP_MARK",         0, NULL},
    ['2']  = {"DUP",              0, NULL},
};
// clang-format on

// ---- the program ----------------------------------------------------------------------------------------------------------------------------

static mlcc_status *run_one(machine *self) {
    const size_t position = self->position;
    const unsigned char *bytes = NULL;
    MLCC_TRY(take(self, 1, &bytes));
    const opcode_row *opcode = &opcodes[*bytes];
    if (opcode->run == NULL)
        return MLCC_ERROR(
            INVALID,
            "forbidden opcode 0x%02x%s%s%s at byte %zu; only programs that build a dictionary of "
            "tensors are read: save the weights as safetensors",
            *bytes, opcode->name != NULL ? " (" : "", opcode->name != NULL ? opcode->name : "",
            opcode->name != NULL ? ")" : "", position);
    MLCC_TRY(take(self, opcode->immediate_bytes, &bytes));
    const uint64_t immediate = little_endian(bytes, opcode->immediate_bytes);
    MLCC_TRY_NOTE(
        opcode->run(self, immediate), "running opcode %s at byte %zu of data.pkl", opcode->name,
        position);
    return NULL;
}

static mlcc_status *run_program(machine *self) {
    if (self->size_bytes > HF_TORCH_MAX_PICKLE_BYTES)
        return MLCC_ERROR(
            UNSUPPORTED, "the pickle has %zu bytes; at most %zu are accepted", self->size_bytes,
            HF_TORCH_MAX_PICKLE_BYTES);
    if (self->size_bytes < 2 || self->bytes[0] != OPCODE_PROTOCOL)
        return MLCC_ERROR(
            INVALID, "data.pkl does not begin with a pickle protocol of %d to %d", FIRST_PROTOCOL,
            LAST_PROTOCOL);
    for (size_t n_opcodes = 0; !self->is_finished; n_opcodes++) {
        if (n_opcodes == MAX_OPCODES)
            return MLCC_ERROR(
                UNSUPPORTED,
                "the pickle has more than %zu opcodes; split the checkpoint into several files",
                MAX_OPCODES);
        MLCC_TRY(run_one(self));
    }
    return NULL;
}

mlcc_status *hf_torch_pickle_parse(
    const void *data, size_t size_bytes, const char *what, mlcc_arena *keep, hf_torch_pickle *out) {
    *out = (hf_torch_pickle){0};
    machine self = {.bytes = data, .size_bytes = size_bytes};
    self.objects.scratch = mlcc_arena_create();
    self.objects.keep = keep;
    self.objects.storage_of_key = mlcc_map_create(64);
    mlcc_status *status = run_program(&self);
    if (status == NULL) status = hf_torch_collect(&self.objects, self.stack[0], out);
    if (status == NULL) {
        out->storages = self.objects.storages;
        out->n_storages = self.objects.n_storages;
    }
    mlcc_map_free(self.objects.storage_of_key);
    mlcc_arena_free(self.objects.scratch);
    return mlcc_status_note(status, "reading %s", what);
}
