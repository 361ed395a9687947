// From an opcode to its row or decode function; from arguments to operands.
#include "tests/support/ptx/ptx_decode.h"

#include <string.h>

// ---- helpers of the families -------------------------------------------------------------------------------------------------------------------

bool ptx_has_part(const ptx_decoder *decoder, const char *part) {
    for (size_t i = 1; i < decoder->n_parts; i++)
        if (strcmp(decoder->parts[i], part) == 0) return true;
    return false;
}

const char *ptx_last_part(const ptx_decoder *decoder) {
    return decoder->parts[decoder->n_parts - 1];
}

mlcc_status *ptx_unsupported(const ptx_decoder *decoder) {
    return MLCC_ERROR(
        UNSUPPORTED, "PTX line %u: the interpreter lacks instruction '%.80s'", decoder->line,
        decoder->opcode);
}

mlcc_status *ptx_bad_arg(const ptx_decoder *decoder, size_t index, const char *expected) {
    return MLCC_ERROR(
        INVALID, "PTX line %u: argument %zu of '%.80s' must be %s", decoder->line, index + 1,
        decoder->opcode, expected);
}

mlcc_status *ptx_expect_args(const ptx_decoder *decoder, size_t least, size_t most) {
    if (decoder->n_args >= least && decoder->n_args <= most) return NULL;
    return MLCC_ERROR(
        INVALID, "PTX line %u: '%.80s' has %zu arguments, expected %zu to %zu", decoder->line,
        decoder->opcode, decoder->n_args, least, most);
}

static size_t arg_index(const ptx_decoder *decoder, const ptx_arg *arg) {
    for (size_t i = 0; i < decoder->n_args; i++)
        if (&decoder->args[i] == arg) return i;
    return decoder->n_args - 1; // an element: of the last, for the message
}

static mlcc_status *add_operand(ptx_decoder *decoder, const ptx_operand *operand, bool is_result) {
    ptx_insn *insn = &decoder->insn;
    const size_t n_operands = (size_t)insn->n_results + insn->n_sources;
    if (n_operands == PTX_MAX_OPERANDS)
        return MLCC_ERROR(INVALID, "PTX line %u: too many operands", decoder->line);
    decoder->operands[n_operands] = *operand;
    if (is_result)
        insn->n_results++;
    else
        insn->n_sources++;
    return NULL;
}

static mlcc_status *bad_width(const ptx_decoder *decoder, const ptx_arg *arg, uint32_t bits) {
    return MLCC_ERROR(
        INVALID, "PTX line %u: argument %zu of '%.80s' has %u bits, expected %u", decoder->line,
        arg_index(decoder, arg) + 1, decoder->opcode, arg->operand.bits, bits);
}

mlcc_status *ptx_add_result(ptx_decoder *decoder, const ptx_arg *arg, uint32_t bits) {
    ptx_operand operand = arg->operand;
    if (arg->kind == PTX_ARG_UNSET) {
        operand = (ptx_operand){.bits = bits, .is_unset = 1};
    } else {
        if (arg->kind != PTX_ARG_REGISTER || operand.number == 0)
            return ptx_bad_arg(decoder, arg_index(decoder, arg), "a register");
        if (bits != 0 && operand.bits != bits) return bad_width(decoder, arg, bits);
    }
    return add_operand(decoder, &operand, true);
}

mlcc_status *ptx_add_constant(ptx_decoder *decoder, uint64_t value, uint32_t bits) {
    ptx_function *function = decoder->function;
    if (bits == 0) bits = 64;
    if (bits == 8) bits = 16;
    if (bits == 1) value = value != 0 ? PTX_ALL_LANES : 0;
    if (bits > 1 && bits < 64) value &= ((uint64_t)1 << bits) - 1;
    const uint64_t key[2] = {value, bits};
    uint64_t place = 0;
    ptx_operand operand = {.bits = bits};
    if (mlcc_map_get(decoder->constants, key, sizeof key, &place)) {
        operand.place = (uint32_t)place;
        return add_operand(decoder, &operand, false);
    }
    MLCC_TRY(ptx_place(decoder, bits, &operand.place));
    mlcc_map_add(decoder->constants, key, sizeof key, operand.place);
    MLCC_ARENA_GROW(
        decoder->keep, function->constants, function->n_constants, decoder->constants_capacity);
    function->constants[function->n_constants++] =
        (ptx_constant){.value = value, .place = operand.place, .bits = bits};
    return add_operand(decoder, &operand, false);
}

static uint64_t literal_bits(const ptx_arg *arg, uint32_t bits) {
    if (arg->kind == PTX_ARG_F64 && bits == 32) {
        double wide;
        memcpy(&wide, &arg->value, sizeof wide);
        const float narrow = (float)wide;
        uint32_t value;
        memcpy(&value, &narrow, sizeof value);
        return value;
    }
    if (arg->kind == PTX_ARG_F32 && bits == 64) {
        const uint32_t value = (uint32_t)arg->value;
        float narrow;
        memcpy(&narrow, &value, sizeof narrow);
        const double wide = (double)narrow;
        uint64_t result;
        memcpy(&result, &wide, sizeof result);
        return result;
    }
    return arg->value;
}

mlcc_status *ptx_add_source(ptx_decoder *decoder, const ptx_arg *arg, uint32_t bits) {
    switch (arg->kind) {
    case PTX_ARG_REGISTER:
        if (bits != 0 && arg->operand.bits != bits) return bad_width(decoder, arg, bits);
        return add_operand(decoder, &arg->operand, false);
    case PTX_ARG_ADDRESS:
    case PTX_ARG_INTEGER:
    case PTX_ARG_F32:
    case PTX_ARG_F64: return ptx_add_constant(decoder, literal_bits(arg, bits), bits);
    default: return ptx_bad_arg(decoder, arg_index(decoder, arg), "a register or a number");
    }
}

typedef mlcc_status *add_function(ptx_decoder *decoder, const ptx_arg *arg, uint32_t bits);

static mlcc_status *add_elements(
    ptx_decoder *decoder, const ptx_arg *arg, uint32_t n_elements, uint32_t bits,
    add_function *add) {
    if (arg->kind != PTX_ARG_VECTOR) {
        if (n_elements != 1)
            return ptx_bad_arg(decoder, arg_index(decoder, arg), "a vector in braces");
        return add(decoder, arg, bits);
    }
    if (arg->n_elements != n_elements)
        return MLCC_ERROR(
            INVALID, "PTX line %u: a vector of '%.80s' has %u elements, expected %u", decoder->line,
            decoder->opcode, arg->n_elements, n_elements);
    for (uint32_t i = 0; i < n_elements; i++)
        MLCC_TRY(add(decoder, &decoder->elements[arg->first_element + i], bits));
    return NULL;
}

mlcc_status *ptx_add_results(
    ptx_decoder *decoder, const ptx_arg *arg, uint32_t n_elements, uint32_t bits) {
    return add_elements(decoder, arg, n_elements, bits, ptx_add_result);
}

mlcc_status *ptx_add_sources(
    ptx_decoder *decoder, const ptx_arg *arg, uint32_t n_elements, uint32_t bits) {
    return add_elements(decoder, arg, n_elements, bits, ptx_add_source);
}

static mlcc_status *add_address(ptx_decoder *decoder, const ptx_arg *arg, uint32_t n_elements) {
    if (arg->kind != PTX_ARG_MEMORY || arg->n_elements != n_elements)
        return ptx_bad_arg(
            decoder, arg_index(decoder, arg),
            n_elements == 0 ? "an address in brackets" : "a tensor map's address and two numbers");
    decoder->insn.offset = (int64_t)arg->value;
    if (!arg->has_register) return ptx_add_constant(decoder, 0, 64);
    if (arg->operand.bits != 32 && arg->operand.bits != 64) return bad_width(decoder, arg, 64);
    return add_operand(decoder, &arg->operand, false);
}

mlcc_status *ptx_add_address(ptx_decoder *decoder, const ptx_arg *arg) {
    return add_address(decoder, arg, 0);
}

mlcc_status *ptx_add_place(ptx_decoder *decoder, const ptx_arg *arg, uint32_t n_elements) {
    MLCC_TRY(add_address(decoder, arg, n_elements));
    MLCC_TRY(ptx_add_constant(decoder, (uint64_t)decoder->insn.offset, 64));
    for (uint32_t i = 0; i < n_elements; i++)
        MLCC_TRY(ptx_add_source(decoder, &decoder->elements[arg->first_element + i], 32));
    decoder->insn.offset = 0;
    return NULL;
}

mlcc_status *ptx_add_pair(ptx_decoder *decoder, const ptx_arg *arg) {
    if (!arg->has_pair) return NULL;
    ptx_arg second = {.kind = PTX_ARG_REGISTER, .operand = arg->pair};
    if (second.operand.is_unset) second.kind = PTX_ARG_UNSET;
    return ptx_add_result(decoder, &second, 1);
}

void ptx_need_members(ptx_decoder *decoder, uint8_t member) {
    decoder->insn.flow = PTX_FLOW_WARP;
    decoder->insn.member = member;
}

mlcc_status *ptx_need_whole_warp(ptx_decoder *decoder) {
    ptx_need_members(decoder, decoder->insn.n_sources);
    return ptx_add_constant(decoder, PTX_ALL_LANES, 32);
}

mlcc_status *ptx_take_groups(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 1, 1));
    if (decoder->args[0].kind != PTX_ARG_INTEGER || decoder->args[0].value > 255)
        return ptx_bad_arg(decoder, 0, "a number of groups up to 255");
    decoder->insn.detail[0] = (uint8_t)decoder->args[0].value;
    return NULL;
}

// ---- control flow ------------------------------------------------------------------------------------------------------------------------------

static mlcc_status *decode_branch(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 1, 1));
    if (decoder->args[0].kind != PTX_ARG_NAME) return ptx_bad_arg(decoder, 0, "a label");
    decoder->insn.flow = PTX_FLOW_BRANCH;
    return NULL;
}

static mlcc_status *decode_exit(ptx_decoder *decoder) {
    MLCC_TRY(ptx_expect_args(decoder, 0, 0));
    decoder->insn.flow = PTX_FLOW_EXIT;
    return NULL;
}

static void trap(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_fail(warp, insn, mask, "the kernel gave up");
}

static mlcc_status *decode_trap(ptx_decoder *decoder) {
    decoder->insn.run = trap;
    return NULL;
}

static void do_nothing(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    (void)warp;
    (void)insn;
    (void)mask;
}

// Hints to caches that nothing here has.
static mlcc_status *decode_nothing(ptx_decoder *decoder) {
    decoder->insn.run = do_nothing;
    return NULL;
}

// ---- the table ---------------------------------------------------------------------------------------------------------------------------------

typedef struct family {
    const char *name;
    ptx_decode_function *decode;
} family;

// clang-format off
static const family families[] = {
    {"bra", decode_branch}, {"ret", decode_exit}, {"exit", decode_exit}, {"trap", decode_trap},
    {"bar", ptx_decode_barrier}, {"barrier", ptx_decode_barrier}, {"membar", ptx_decode_fence}, {"fence", ptx_decode_fence},
    {"griddepcontrol", ptx_decode_griddepcontrol}, {"setmaxnreg", ptx_decode_setmaxnreg}, {"elect", ptx_decode_elect}, {"nanosleep", ptx_decode_nanosleep},
    {"mbarrier", ptx_decode_mbarrier}, {"wgmma", ptx_decode_wgmma},
    {"prefetch", decode_nothing}, {"prefetchu", decode_nothing}, {"applypriority", decode_nothing}, {"brkpt", decode_nothing},
    {"discard", ptx_decode_discard}, {"createpolicy", ptx_decode_policy},
    {"setp", ptx_decode_setp}, {"set", ptx_decode_set}, {"lop3", ptx_decode_lop3},
    {"mov", ptx_decode_mov}, {"cvta", ptx_decode_cvta}, {"cvt", ptx_decode_cvt},
    {"ld", ptx_decode_load}, {"ldu", ptx_decode_load}, {"st", ptx_decode_store},
    {"atom", ptx_decode_atomic}, {"red", ptx_decode_atomic}, {"cp", ptx_decode_cp},
    {"shfl", ptx_decode_shfl}, {"vote", ptx_decode_vote}, {"match", ptx_decode_match}, {"redux", ptx_decode_redux},
    {"activemask", ptx_decode_activemask}, {"mma", ptx_decode_mma}, {"ldmatrix", ptx_decode_matrix}, {"stmatrix", ptx_decode_matrix},
};
// clang-format on

static const family *find_family(const char *name) {
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].name, name) == 0) return &families[i];
    return NULL;
}

// The opcode without the suffixes that are flags or change nothing; false when a flag does not fit the type.
static bool plain_name(const ptx_decoder *decoder, mlcc_str *name, uint8_t *flags) {
    const char *type_name = ptx_last_part(decoder);
    const ptx_type *type = ptx_type_find(type_name, strlen(type_name));
    const bool is_float = type != NULL && type->kind == PTX_KIND_FLOAT;
    const bool is_f32 = is_float && strcmp(type->name, "f32") == 0;
    mlcc_str_puts(name, decoder->parts[0]);
    for (size_t i = 1; i < decoder->n_parts; i++) {
        const char *part = decoder->parts[i];
        if (strcmp(part, "ftz") == 0) {
            if (!is_f32 && strcmp(decoder->parts[0], "ex2") != 0) return false;
            if (is_f32) *flags |= PTX_FTZ;
        } else if (is_float && strcmp(part, "sat") == 0) {
            *flags |= PTX_SAT;
        } else if (is_float && strcmp(part, "relu") == 0) {
            *flags |= PTX_RELU;
        } else if (is_float && strcmp(part, "NaN") == 0) {
            *flags |= PTX_NAN;
        } else if (
            !is_float ||
            (strcmp(part, "rn") != 0 && strcmp(part, "approx") != 0 && strcmp(part, "full") != 0)) {
            mlcc_str_putc(name, '.');
            mlcc_str_puts(name, part);
        }
    }
    return true;
}

static const ptx_row *find_row_of(const ptx_decoder *decoder, uint8_t *flags) {
    typedef const ptx_row *table_function(size_t *n_rows);
    static table_function *const tables[] = {ptx_integer_rows, ptx_float_rows, ptx_half_rows};
    mlcc_str name = {0};
    const ptx_row *found = NULL;
    if (plain_name(decoder, &name, flags)) {
        for (size_t t = 0; t < sizeof tables / sizeof tables[0] && found == NULL; t++) {
            size_t n_rows = 0;
            const ptx_row *rows = tables[t](&n_rows);
            for (size_t i = 0; i < n_rows && found == NULL; i++)
                if (strcmp(rows[i].name, name.data) == 0) found = &rows[i];
        }
    }
    mlcc_str_free(&name);
    return found;
}

mlcc_status *ptx_check_opcode(const ptx_decoder *decoder) {
    uint8_t flags = 0;
    if (find_family(decoder->parts[0]) != NULL) return NULL;
    if (find_row_of(decoder, &flags) != NULL) return NULL;
    return ptx_unsupported(decoder);
}

static mlcc_status *decode_row(ptx_decoder *decoder) {
    uint8_t flags = 0;
    const ptx_row *row = find_row_of(decoder, &flags);
    if (row == NULL) return ptx_unsupported(decoder);
    size_t n_sources = 0;
    while (n_sources < 4 && row->source_bits[n_sources] != 0) n_sources++;
    MLCC_TRY(ptx_expect_args(decoder, 1 + n_sources, 1 + n_sources));
    MLCC_TRY(ptx_add_result(decoder, &decoder->args[0], row->result_bits));
    for (size_t i = 0; i < n_sources; i++) {
        if (decoder->args[1 + i].is_negated) return ptx_bad_arg(decoder, 1 + i, "without '!'");
        MLCC_TRY(ptx_add_source(decoder, &decoder->args[1 + i], row->source_bits[i]));
    }
    decoder->insn.flags |= flags;
    decoder->insn.run = row->run;
    return NULL;
}

mlcc_status *ptx_decode(ptx_decoder *decoder) {
    const family *found = find_family(decoder->parts[0]);
    return found != NULL ? found->decode(decoder) : decode_row(decoder);
}
