/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/pickle.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* More than any checkpoint has; keeps a hostile file from eating the memory. */
enum { MAX_VALUES = 1 << 22 };

static const sw_pickle_global globals[] = {
    {"collections.OrderedDict", SW_ROLE_DICT, SW_U8},
    {"torch._utils._rebuild_tensor", SW_ROLE_TENSOR, SW_U8},
    {"torch._utils._rebuild_tensor_v2", SW_ROLE_TENSOR, SW_U8},
    {"torch._utils._rebuild_parameter", SW_ROLE_PARAMETER, SW_U8},
    {"torch.FloatStorage", SW_ROLE_STORAGE, SW_F32},
    {"torch.DoubleStorage", SW_ROLE_STORAGE, SW_F64},
    {"torch.HalfStorage", SW_ROLE_STORAGE, SW_F16},
    {"torch.BFloat16Storage", SW_ROLE_STORAGE, SW_BF16},
    {"torch.LongStorage", SW_ROLE_STORAGE, SW_I64},
    {"torch.IntStorage", SW_ROLE_STORAGE, SW_I32},
    {"torch.ByteStorage", SW_ROLE_STORAGE, SW_U8},
    {"torch.BoolStorage", SW_ROLE_STORAGE, SW_U8},
    {"torch.Size", SW_ROLE_SIZE, SW_U8},
    {"torch.device", SW_ROLE_IGNORED, SW_U8},
};

typedef struct machine {
    const uint8_t *bytes;
    size_t size, at;
    size_t op_at; /* of the instruction in work, for messages */
    const char *path;
    sw_pickle *out;
    sw_pickle_value **stack;
    size_t depth, stack_capacity;
    sw_pickle_value **memo; /* NULL: not set */
    size_t memos, memo_capacity;
} machine;

static sw_status damaged(const machine *m, const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: the pickle is damaged at byte %zu: %s; fetch the file again", m->path,
                        m->op_at, what);
}

static sw_status take(machine *m, size_t count, const uint8_t **out, sw_error *err)
{
    if (count > m->size - m->at)
        return sw_error_set(err, SW_E_FORMAT, "%s: cut short (its pickle has no end); fetch the file again", m->path);
    *out = m->bytes + m->at;
    m->at += count;
    return SW_OK;
}

/* Little-endian unsigned of `width` bytes. */
static sw_status take_uint(machine *m, size_t width, uint64_t *out, sw_error *err)
{
    const uint8_t *p = NULL;
    SW_TRY(take(m, width, &p, err));
    *out = 0;
    for (size_t i = width; i > 0; i--) *out = *out << 8 | p[i - 1];
    return SW_OK;
}

static sw_status new_value(machine *m, sw_pickle_kind kind, sw_pickle_value **out, sw_error *err)
{
    sw_pickle *p = m->out;
    if (p->count >= MAX_VALUES)
        return sw_error_set(err, SW_E_FORMAT, "%s: holds more than %d Python objects; it is not a checkpoint", m->path,
                            MAX_VALUES);
    SW_TRY(sw_grow(&p->value, &p->capacity, p->count + 1, sizeof *p->value, err));
    sw_pickle_value *v = sw_calloc(1, sizeof *v);
    if (!v) return sw_nomem(err);
    v->kind = kind;
    p->value[p->count++] = v;
    *out = v;
    return SW_OK;
}

static sw_status push(machine *m, sw_pickle_value *v, sw_error *err)
{
    if (m->depth >= MAX_VALUES) return damaged(m, "its stack is too deep", err);
    SW_TRY(sw_grow(&m->stack, &m->stack_capacity, m->depth + 1, sizeof *m->stack, err));
    m->stack[m->depth++] = v;
    return SW_OK;
}

static sw_status push_new(machine *m, sw_pickle_kind kind, int64_t number, sw_error *err)
{
    sw_pickle_value *v = NULL;
    SW_TRY(new_value(m, kind, &v, err));
    v->number = number;
    return push(m, v, err);
}

static sw_status push_text(machine *m, sw_pickle_kind kind, size_t width, sw_error *err)
{
    sw_pickle_value *v = NULL;
    const uint8_t *p = NULL;
    uint64_t size = 0;
    SW_TRY(take_uint(m, width, &size, err));
    SW_TRY(take(m, size, &p, err));
    SW_TRY(new_value(m, kind, &v, err));
    v->text = (const char *)p;
    v->size = size;
    return push(m, v, err);
}

/* The top value, which is no mark. */
static sw_status pop(machine *m, sw_pickle_value **out, sw_error *err)
{
    if (m->depth == 0 || m->stack[m->depth - 1]->kind == SW_PICKLE_MARK)
        return damaged(m, "it takes a value that is not there", err);
    *out = m->stack[--m->depth];
    return SW_OK;
}

/* Index of the topmost mark. */
static sw_status find_mark(machine *m, size_t *out, sw_error *err)
{
    for (size_t i = m->depth; i > 0; i--) {
        if (m->stack[i - 1]->kind != SW_PICKLE_MARK) continue;
        *out = i - 1;
        return SW_OK;
    }
    return damaged(m, "it looks for a mark that was not set", err);
}

static sw_status append(machine *m, sw_pickle_value *to, sw_pickle_value *const *item, size_t count, sw_error *err)
{
    if (count == 0) return SW_OK;
    if (to->count + count > MAX_VALUES) return damaged(m, "a collection is too long", err);
    SW_TRY(sw_grow(&to->item, &to->capacity, to->count + count, sizeof *to->item, err));
    memcpy(to->item + to->count, item, count * sizeof *item);
    to->count += count;
    return SW_OK;
}

/* Replaces the stack from `first` (`drop` of it left out) by one collection. */
static sw_status collect(machine *m, sw_pickle_kind kind, size_t first, size_t drop, sw_error *err)
{
    sw_pickle_value *v = NULL;
    SW_TRY(new_value(m, kind, &v, err));
    SW_TRY(append(m, v, m->stack + first + drop, m->depth - first - drop, err));
    m->depth = first;
    return push(m, v, err);
}

static sw_status collect_marked(machine *m, sw_pickle_kind kind, sw_error *err)
{
    size_t mark = 0;
    SW_TRY(find_mark(m, &mark, err));
    if (kind == SW_PICKLE_DICT && (m->depth - mark - 1) % 2 != 0)
        return damaged(m, "a dictionary has a key without a value", err);
    return collect(m, kind, mark, 1, err);
}

static sw_status collect_top(machine *m, size_t count, sw_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (m->depth <= i || m->stack[m->depth - 1 - i]->kind == SW_PICKLE_MARK)
            return damaged(m, "it takes a value that is not there", err);
    return collect(m, SW_PICKLE_TUPLE, m->depth - count, 0, err);
}

/* Adds the stack from `first` on to the collection below it; `mark`: a mark lies between. */
static sw_status extend(machine *m, sw_pickle_kind kind, size_t first, size_t mark, sw_error *err)
{
    if (first < mark + 1 || m->stack[first - mark - 1]->kind != kind)
        return damaged(m, kind == SW_PICKLE_DICT ? "it adds to a dictionary that is not there"
                                                 : "it adds to a list that is not there", err);
    if (kind == SW_PICKLE_DICT && (m->depth - first) % 2 != 0)
        return damaged(m, "a dictionary has a key without a value", err);
    SW_TRY(append(m, m->stack[first - mark - 1], m->stack + first, m->depth - first, err));
    m->depth = first - mark;
    return SW_OK;
}

static sw_status extend_top(machine *m, sw_pickle_kind kind, size_t count, sw_error *err)
{
    if (m->depth < count + 1) return damaged(m, "it takes a value that is not there", err);
    return extend(m, kind, m->depth - count, 0, err);
}

static sw_status extend_marked(machine *m, sw_pickle_kind kind, sw_error *err)
{
    size_t mark = 0;
    SW_TRY(find_mark(m, &mark, err));
    return extend(m, kind, mark + 1, 1, err);
}

/* --- memo */

static sw_status memo_set(machine *m, uint64_t index, sw_error *err)
{
    if (m->depth == 0) return damaged(m, "it takes a value that is not there", err);
    if (index >= MAX_VALUES) return damaged(m, "a memo number is too high", err);
    if (index >= m->memos) {
        SW_TRY(sw_grow(&m->memo, &m->memo_capacity, index + 1, sizeof *m->memo, err));
        memset(m->memo + m->memos, 0, (index + 1 - m->memos) * sizeof *m->memo);
        m->memos = index + 1;
    }
    m->memo[index] = m->stack[m->depth - 1];
    return SW_OK;
}

static sw_status memo_get(machine *m, size_t width, sw_error *err)
{
    uint64_t index = 0;
    SW_TRY(take_uint(m, width, &index, err));
    if (index >= m->memos || !m->memo[index] || m->memo[index]->kind == SW_PICKLE_MARK)
        return damaged(m, "it asks for a memo that was not set", err);
    return push(m, m->memo[index], err);
}

static sw_status memo_put(machine *m, size_t width, sw_error *err)
{
    uint64_t index = 0;
    SW_TRY(take_uint(m, width, &index, err));
    return memo_set(m, index, err);
}

/* --- Python objects */

/* A name of a foreign file, fit for a message. */
static void readable(char *out, size_t room, const char *text, size_t size)
{
    size_t n = size < room - 1 ? size : room - 1;
    for (size_t i = 0; i < n; i++) out[i] = text[i] >= 32 && text[i] < 127 ? text[i] : '?';
    out[n] = '\0';
}

static sw_status push_global(machine *m, const char *module, size_t module_size, const char *name, size_t name_size,
                             sw_error *err)
{
    char full[160], a[100], b[50];
    readable(a, sizeof a, module, module_size);
    readable(b, sizeof b, name, name_size);
    snprintf(full, sizeof full, "%s.%s", a, b);
    for (size_t i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        if (strcmp(globals[i].name, full) != 0) continue;
        sw_pickle_value *v = NULL;
        SW_TRY(new_value(m, SW_PICKLE_GLOBAL, &v, err));
        v->global = &globals[i];
        return push(m, v, err);
    }
    return sw_error_set(err, SW_E_UNSUPPORTED,
                        "%s: uses the Python object '%s', which slidewise does not load; save the file again with only "
                        "tensors (torch.save(model.state_dict(), ...))",
                        m->path, full);
}

static sw_status take_line(machine *m, const char **text, size_t *size, sw_error *err)
{
    const uint8_t *start = m->bytes + m->at, *p = NULL;
    const uint8_t *end = memchr(start, '\n', m->size - m->at);
    SW_TRY(take(m, end ? (size_t)(end - start) + 1 : SIZE_MAX, &p, err));
    *text = (const char *)p;
    *size = (size_t)(end - start);
    return SW_OK;
}

static sw_status op_global(machine *m, sw_error *err)
{
    const char *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    SW_TRY(take_line(m, &module, &module_size, err));
    SW_TRY(take_line(m, &name, &name_size, err));
    return push_global(m, module, module_size, name, name_size, err);
}

static sw_status op_stack_global(machine *m, sw_error *err)
{
    sw_pickle_value *module = NULL, *name = NULL;
    SW_TRY(pop(m, &name, err));
    SW_TRY(pop(m, &module, err));
    if (module->kind != SW_PICKLE_TEXT || name->kind != SW_PICKLE_TEXT)
        return damaged(m, "an object's name is not a text", err);
    return push_global(m, module->text, module->size, name->text, name->size, err);
}

/* OrderedDict(pairs), as Python 2 wrote it; without arguments it is filled later. */
static sw_status dict_from_pairs(machine *m, const sw_pickle_value *args, sw_error *err)
{
    sw_pickle_value *dict = NULL;
    const sw_pickle_value *pairs = args->count == 1 ? args->item[0] : NULL;
    SW_TRY(new_value(m, SW_PICKLE_DICT, &dict, err));
    if (args->count > 1 || (pairs && pairs->kind != SW_PICKLE_LIST && pairs->kind != SW_PICKLE_TUPLE))
        return damaged(m, "a dictionary is made of what is not pairs", err);
    for (size_t i = 0; pairs && i < pairs->count; i++) {
        const sw_pickle_value *pair = pairs->item[i];
        if ((pair->kind != SW_PICKLE_LIST && pair->kind != SW_PICKLE_TUPLE) || pair->count != 2)
            return damaged(m, "a dictionary is made of what is not pairs", err);
        SW_TRY(append(m, dict, pair->item, 2, err));
    }
    return push(m, dict, err);
}

static sw_status op_reduce(machine *m, sw_error *err)
{
    sw_pickle_value *args = NULL, *callee = NULL, *call = NULL;
    SW_TRY(pop(m, &args, err));
    SW_TRY(pop(m, &callee, err));
    if (callee->kind != SW_PICKLE_GLOBAL || args->kind != SW_PICKLE_TUPLE)
        return damaged(m, "it builds an object from what is not one", err);
    if (callee->global->role == SW_ROLE_DICT) return dict_from_pairs(m, args, err);
    SW_TRY(new_value(m, SW_PICKLE_CALL, &call, err));
    call->global = callee->global;
    SW_TRY(append(m, call, args->item, args->count, err));
    return push(m, call, err);
}

static sw_status op_persistent(machine *m, sw_error *err)
{
    sw_pickle_value *id = NULL, *v = NULL;
    SW_TRY(pop(m, &id, err));
    if (id->kind != SW_PICKLE_TUPLE) return damaged(m, "a storage is not named by a tuple", err);
    SW_TRY(new_value(m, SW_PICKLE_PERSISTENT, &v, err));
    SW_TRY(append(m, v, id->item, id->count, err));
    return push(m, v, err);
}

/* --- numbers */

static sw_status op_int(machine *m, size_t width, bool is_signed, sw_error *err)
{
    uint64_t v = 0;
    SW_TRY(take_uint(m, width, &v, err));
    return push_new(m, SW_PICKLE_INT, is_signed ? (int64_t)(int32_t)(uint32_t)v : (int64_t)v, err);
}

/* Two's complement of any length. */
static sw_status op_long(machine *m, size_t width, sw_error *err)
{
    SW_TRY(push_text(m, SW_PICKLE_LONG, width, err));
    sw_pickle_value *v = m->stack[m->depth - 1];
    if (v->size > 8) return SW_OK;
    uint64_t bits = v->size > 0 && ((uint8_t)v->text[v->size - 1] & 0x80) ? UINT64_MAX : 0;
    for (size_t i = v->size; i > 0; i--) bits = bits << 8 | (uint8_t)v->text[i - 1];
    v->kind = SW_PICKLE_INT;
    memcpy(&v->number, &bits, sizeof bits);
    return SW_OK;
}

static sw_status op_float(machine *m, sw_error *err)
{
    const uint8_t *p = NULL;
    SW_TRY(take(m, 8, &p, err));
    return push_new(m, SW_PICKLE_FLOAT, 0, err);
}

static sw_status skip(machine *m, size_t width, sw_error *err)
{
    const uint8_t *p = NULL;
    return take(m, width, &p, err);
}

static sw_status op_pop(machine *m, sw_error *err)
{
    if (m->depth == 0) return damaged(m, "it takes a value that is not there", err);
    m->depth--;
    return SW_OK;
}

static sw_status op_pop_mark(machine *m, sw_error *err)
{
    return find_mark(m, &m->depth, err);
}

static sw_status op_dup(machine *m, sw_error *err)
{
    sw_pickle_value *v = NULL;
    SW_TRY(pop(m, &v, err));
    SW_TRY(push(m, v, err));
    return push(m, v, err);
}

/* The state of an object (a state_dict's _metadata): nothing of it is needed. */
static sw_status op_build(machine *m, sw_error *err)
{
    sw_pickle_value *state = NULL, *object = NULL;
    SW_TRY(pop(m, &state, err));
    SW_TRY(pop(m, &object, err));
    return push(m, object, err);
}

static sw_status unknown(machine *m, uint8_t op, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT,
                        "%s: the pickle has instruction 0x%02x at byte %zu, which a checkpoint of tensors does not use; "
                        "the file is damaged, or save it again with torch.save(model.state_dict(), ...)",
                        m->path, op, m->op_at);
}

/* Instructions that take from or add to the stack. */
static sw_status run_stack_op(machine *m, uint8_t op, sw_error *err)
{
    switch (op) {
    case '(': return push_new(m, SW_PICKLE_MARK, 0, err);
    case '0': return op_pop(m, err);
    case '1': return op_pop_mark(m, err);
    case '2': return op_dup(m, err);
    case ')': return push_new(m, SW_PICKLE_TUPLE, 0, err);
    case ']': return push_new(m, SW_PICKLE_LIST, 0, err);
    case '}': return push_new(m, SW_PICKLE_DICT, 0, err);
    case 't': return collect_marked(m, SW_PICKLE_TUPLE, err);
    case 'l': return collect_marked(m, SW_PICKLE_LIST, err);
    case 'd': return collect_marked(m, SW_PICKLE_DICT, err);
    case 0x85: return collect_top(m, 1, err);
    case 0x86: return collect_top(m, 2, err);
    case 0x87: return collect_top(m, 3, err);
    case 'a': return extend_top(m, SW_PICKLE_LIST, 1, err);
    case 's': return extend_top(m, SW_PICKLE_DICT, 2, err);
    case 'e': return extend_marked(m, SW_PICKLE_LIST, err);
    case 'u': return extend_marked(m, SW_PICKLE_DICT, err);
    case 'c': return op_global(m, err);
    case 0x93: return op_stack_global(m, err);
    case 'R': return op_reduce(m, err);
    case 'Q': return op_persistent(m, err);
    case 'b': return op_build(m, err);
    case 'q': return memo_put(m, 1, err);
    case 'r': return memo_put(m, 4, err);
    case 0x94: return memo_set(m, m->memos, err);
    case 'h': return memo_get(m, 1, err);
    case 'j': return memo_get(m, 4, err);
    default: return unknown(m, op, err);
    }
}

static sw_status run_op(machine *m, uint8_t op, sw_error *err)
{
    switch (op) {
    case 0x80: return skip(m, 1, err); /* protocol number */
    case 0x95: return skip(m, 8, err); /* length of a frame */
    case 'N': return push_new(m, SW_PICKLE_NONE, 0, err);
    case 0x88: return push_new(m, SW_PICKLE_BOOL, 1, err);
    case 0x89: return push_new(m, SW_PICKLE_BOOL, 0, err);
    case 'K': return op_int(m, 1, false, err);
    case 'M': return op_int(m, 2, false, err);
    case 'J': return op_int(m, 4, true, err);
    case 0x8a: return op_long(m, 1, err);
    case 0x8b: return op_long(m, 4, err);
    case 'G': return op_float(m, err);
    case 0x8c: case 'U': case 'C': return push_text(m, SW_PICKLE_TEXT, 1, err);
    case 'X': case 'T': case 'B': return push_text(m, SW_PICKLE_TEXT, 4, err);
    case 0x8d: case 0x8e: return push_text(m, SW_PICKLE_TEXT, 8, err);
    default: return run_stack_op(m, op, err);
    }
}

static sw_status run(machine *m, sw_error *err)
{
    for (;;) {
        const uint8_t *op = NULL;
        m->op_at = m->at;
        SW_TRY(take(m, 1, &op, err));
        if (*op == '.') break;
        SW_TRY(run_op(m, *op, err));
    }
    SW_TRY(pop(m, &m->out->root, err));
    m->out->used = m->at;
    return SW_OK;
}

sw_status sw_pickle_read(const uint8_t *bytes, size_t size, const char *path, sw_pickle *out, sw_error *err)
{
    machine m = {.bytes = bytes, .size = size, .path = path, .out = out};
    sw_status status = run(&m, err);
    sw_free(m.stack);
    sw_free(m.memo);
    return status;
}

void sw_pickle_free(sw_pickle *p)
{
    for (size_t i = 0; i < p->count; i++) {
        sw_free(p->value[i]->item);
        sw_free(p->value[i]);
    }
    sw_free(p->value);
    *p = (sw_pickle){0};
}

bool sw_pickle_is_text(const sw_pickle_value *v, const char *text)
{
    return v->kind == SW_PICKLE_TEXT && v->size == strlen(text) && memcmp(v->text, text, v->size) == 0;
}
