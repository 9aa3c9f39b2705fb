/* SPDX-License-Identifier: Apache-2.0 */
/* Weight files: PyTorch's (fixtures of tests/golden/make_weights.py, values by formula) and safetensors. */
#include "test.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "weights/weights.h"

static sw_error err;

static char *fixture(const char *name)
{
    return sw_asprintf("%s/golden/weights/%s", sw_test_source(), name);
}

/* Writes bytes to a fresh file; messages are compared without its folder. */
static const char *scratch(const char *name, const void *bytes, size_t size)
{
    static char path[512];
    sw_error e;
    snprintf(path, sizeof path, "%s/%s", sw_test_dir(), name);
    if (sw_file_write(path, bytes, size, &e) != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", e.message);
    return path;
}

/* The message for a file of these bytes, without its path; "opened" if there is none. */
static const char *refusal(const char *path)
{
    sw_weights *w = NULL;
    if (sw_weights_open(path, &w, &err) == SW_OK) {
        sw_weights_close(w);
        return "opened";
    }
    size_t n = strlen(path);
    return strncmp(err.message, path, n) == 0 ? err.message + n : err.message;
}

static const char *refusal_of(const char *name, const void *bytes, size_t size)
{
    return refusal(scratch(name, bytes, size));
}

/* Tensor `name`: shape, type, and element i is first + step * i. */
static bool is(const sw_weights *w, const char *name, sw_dtype dtype, const char *shape, double first, double step)
{
    char text[64];
    float v[64];
    int64_t at = sw_weights_find(w, name), whole[64];
    if (at < 0) return sw_test_fail(__FILE__, __LINE__, "no tensor %s", name);
    const sw_weight *t = sw_weights_get(w, (size_t)at);
    sw_shape_text(&t->shape, text, sizeof text);
    if (t->dtype != dtype || strcmp(text, shape) != 0)
        return sw_test_fail(__FILE__, __LINE__, "%s is %s of %s", name, text, sw_dtype_name(t->dtype));
    bool real = dtype == SW_F32 || dtype == SW_F64 || dtype == SW_F16 || dtype == SW_BF16;
    sw_status status = real ? sw_weights_read_f32(w, (size_t)at, v, &err) : sw_weights_read_i64(w, (size_t)at, whole, &err);
    if (status != SW_OK) return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    for (int64_t i = 0; i < sw_shape_count(&t->shape); i++) {
        double value = real ? (double)v[i] : (double)whole[i];
        if (value != first + step * (double)i)
            return sw_test_fail(__FILE__, __LINE__, "%s[%lld] is %g", name, (long long)i, value);
    }
    return true;
}

static bool values_are(const sw_weights *w, const char *name, const double *expected, int64_t count)
{
    float v[64];
    int64_t at = sw_weights_find(w, name);
    if (at < 0 || sw_shape_count(&sw_weights_get(w, (size_t)at)->shape) != count ||
        sw_weights_read_f32(w, (size_t)at, v, &err) != SW_OK)
        return sw_test_fail(__FILE__, __LINE__, "%s cannot be read", name);
    for (int64_t i = 0; i < count; i++)
        if ((double)v[i] != expected[i]) return sw_test_fail(__FILE__, __LINE__, "%s[%lld] is %g", name, (long long)i, v[i]);
    return true;
}

static void check_everything(const char *file)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_AUTOFREE char *path = fixture(file);
    double turned[24], slice[12];
    const double spread[6] = {-1, -0.75, -0.5, -1, -0.75, -0.5};
    int64_t yes[3];
    for (int i = 0; i < 24; i++) turned[i] = 0.25 * (i % 4 * 6 + i / 4) - 1;
    for (int i = 0; i < 12; i++) slice[i] = 0.25 * (i / 3 * 6 + 1 + i % 3 * 2) - 1;
    CHECK_OK(sw_weights_open(path, &w, &err));
    CHECK_INT(sw_weights_count(w), 17);
    CHECK_STR(sw_weights_get(w, 0)->name, "conv1.weight");
    CHECK(is(w, "conv1.weight", SW_F32, "[4, 3, 2, 2]", -1, 0.25));
    CHECK(is(w, "shared.a", SW_F32, "[4, 6]", -1, 0.25));
    CHECK(is(w, "shared.b", SW_F32, "[2, 6]", 0.5, 0.25));
    CHECK(values_are(w, "shared.t", turned, 24));
    CHECK(values_are(w, "shared.slice", slice, 12));
    CHECK(values_are(w, "shared.spread", spread, 6));
    CHECK(is(w, "half", SW_F16, "[7]", -1, 0.25));
    CHECK(is(w, "bfloat16", SW_BF16, "[7]", -1, 0.25));
    CHECK(is(w, "float64", SW_F64, "[7]", -1, 0.25));
    CHECK(is(w, "int64", SW_I64, "[5]", -4, 3));
    CHECK(is(w, "int32", SW_I32, "[5]", -4, 3));
    CHECK(is(w, "uint8", SW_U8, "[5]", 0, 1));
    CHECK_OK(sw_weights_read_i64(w, (size_t)sw_weights_find(w, "bool"), yes, &err));
    CHECK_INT(yes[0] * 100 + yes[1] * 10 + yes[2], 101);
    CHECK(is(w, "scalar", SW_F32, "[]", 7.5, 0));
    CHECK(is(w, "tracked", SW_I64, "[]", 123456789012.0, 0));
    CHECK(is(w, "empty", SW_F32, "[0, 3]", 0, 0));
    CHECK(is(w, "parameter", SW_F32, "[2, 3]", -1, 0.25));
    CHECK(sw_weights_get(w, 17) == NULL);
    CHECK_INT(sw_weights_find(w, "absent"), -1);
    CHECK(sw_weights_metadata(w, "key") == NULL);
}

TEST(a_zip_checkpoint_is_read)
{
    check_everything("everything.pt");
}

TEST(a_legacy_checkpoint_is_read)
{
    check_everything("everything_legacy.pt");
}

TEST(a_compressed_zip_is_read)
{
    check_everything("deflated.pt");
}

static void check_nested(const char *file)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_AUTOFREE char *path = fixture(file);
    CHECK_OK(sw_weights_open(path, &w, &err));
    CHECK_INT(sw_weights_count(w), 10);
    CHECK(is(w, "state_dict.0.weight", SW_F32, "[2, 3]", -1, 0.25));
    CHECK(is(w, "state_dict.0.bias", SW_F32, "[2]", -1, 0.25));
    CHECK(is(w, "state_dict.1.running_var", SW_F32, "[2]", 1, 0));
    CHECK(is(w, "state_dict.1.num_batches_tracked", SW_I64, "[]", 0, 0));
    CHECK(is(w, "list.0", SW_F32, "[2]", -1, 0.25));
    CHECK(is(w, "list.1.0", SW_F32, "[3]", -1, 0.25));
    CHECK(is(w, "optimizer.state.0.exp_avg", SW_F32, "[2, 3]", -1, 0.25));
}

TEST(nested_dictionaries_are_flattened_and_scalars_left_out)
{
    check_nested("nested.pt");
    check_nested("nested_legacy.pt");
}

static void check_one(const char *file, const char *name)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_AUTOFREE char *path = fixture(file);
    CHECK_OK(sw_weights_open(path, &w, &err));
    CHECK_INT(sw_weights_count(w), 1);
    CHECK(is(w, name, SW_F32, "[2, 3]", -1, 0.25));
}

TEST(a_bare_tensor_and_other_writers_are_read)
{
    check_one("tensor.pt", "tensor");
    check_one("tensor_legacy.pt", "tensor");
    check_one("protocol4.pt", "a");
    check_one("python2_legacy.pt", "w");
}

TEST(a_checkpoint_that_would_run_code_is_refused)
{
    static const char *const files[] = {"evil.pt", "evil_legacy.pt"};
    for (int i = 0; i < 2; i++) {
        SW_AUTOFREE char *path = fixture(files[i]);
        unlink("/tmp/slidewise-was-here");
        CHECK_STR(refusal(path), ": uses the Python object 'posix.system', which slidewise does not load; save the file again "
                                 "with only tensors (torch.save(model.state_dict(), ...))");
        CHECK_INT(err.code, SW_E_UNSUPPORTED);
        CHECK(!sw_path_exists("/tmp/slidewise-was-here"));
    }
}

TEST(a_file_without_tensors_is_refused)
{
    static const char *const files[] = {"nothing.pt", "nothing_legacy.pt"};
    for (int i = 0; i < 2; i++) {
        SW_AUTOFREE char *path = fixture(files[i]);
        CHECK_STR(refusal(path), ": a PyTorch file without any tensor; give one that torch.save(model.state_dict(), ...) wrote");
    }
}

/* --- damage */

static bool read_all_values(const sw_weights *w)
{
    for (size_t i = 0; i < sw_weights_count(w); i++) {
        const sw_weight *t = sw_weights_get(w, i);
        int64_t n = sw_shape_count(&t->shape);
        if (n > 10000) continue; /* one number repeated: a view of stride 0 */
        SW_AUTOFREE void *v = sw_malloc((size_t)n * 8 + 8);
        bool real = t->dtype == SW_F32 || t->dtype == SW_F64 || t->dtype == SW_F16 || t->dtype == SW_BF16;
        if ((real ? sw_weights_read_f32(w, i, v, &err) : sw_weights_read_i64(w, i, v, &err)) != SW_OK) return false;
    }
    return true;
}

/* Opens; a failure must have a sentence that starts with the path (", line 1" follows where JSON is bad), a success must
 * be readable. */
static bool opens_or_explains(const char *path)
{
    sw_weights *w = NULL;
    err.message[0] = '\0';
    if (sw_weights_open(path, &w, &err) != SW_OK) {
        if (w) return sw_test_fail(__FILE__, __LINE__, "a handle was given in spite of: %s", err.message);
        if (strncmp(err.message, path, strlen(path)) != 0 || !strchr(":,", err.message[strlen(path)]))
            return sw_test_fail(__FILE__, __LINE__, "no sentence: %s", err.message);
        return true;
    }
    bool ok = read_all_values(w);
    sw_weights_close(w);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

/* A file in memory, since thousands on a disk would take minutes. */
typedef struct memory_file {
    int fd;
    char path[64];
} memory_file;

static bool memory_file_new(memory_file *f)
{
    f->fd = memfd_create("weights", MFD_CLOEXEC);
    snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
    return f->fd >= 0;
}

static bool memory_file_write(const memory_file *f, const void *bytes, size_t size)
{
    return ftruncate(f->fd, (off_t)size) == 0 && pwrite(f->fd, bytes, size, 0) == (ssize_t)size;
}

/* After a failure was recorded: tells where, and ends the test. */
#define SKIP_REST(...)                                                                          \
    do {                                                                                        \
        printf("# " __VA_ARGS__);                                                               \
        putchar('\n');                                                                          \
        return;                                                                                 \
    } while (0)

static const char *const damage_me[] = {"everything_legacy.pt", "nested_legacy.pt", "python2_legacy.pt",
                                        "tensor.pt", "evil.pt", "six.safetensors"};

TEST(every_cut_file_is_refused_with_a_sentence)
{
    memory_file cut;
    CHECK(memory_file_new(&cut));
    for (size_t k = 0; k < sizeof damage_me / sizeof damage_me[0]; k++) {
        SW_CLEANUP(sw_buf_free) sw_buf file = {0};
        SW_AUTOFREE char *path = fixture(damage_me[k]);
        CHECK_OK(sw_file_read(path, &file, &err));
        for (size_t n = 0; n < file.size; n++) {
            CHECK(memory_file_write(&cut, file.data, n));
            if (!opens_or_explains(cut.path)) SKIP_REST("%s cut to %zu bytes", damage_me[k], n);
            CHECK(strcmp(refusal(cut.path), "opened") != 0);
        }
    }
    close(cut.fd);
}

TEST(every_changed_byte_is_survived)
{
    static const uint8_t flips[] = {0x01, 0xff};
    memory_file changed;
    CHECK(memory_file_new(&changed));
    for (size_t k = 0; k < sizeof damage_me / sizeof damage_me[0]; k++) {
        SW_CLEANUP(sw_buf_free) sw_buf file = {0};
        SW_AUTOFREE char *path = fixture(damage_me[k]);
        CHECK_OK(sw_file_read(path, &file, &err));
        for (size_t i = 0; i < file.size * 2; i++) {
            file.data[i / 2] = (char)((uint8_t)file.data[i / 2] ^ flips[i % 2]);
            CHECK(memory_file_write(&changed, file.data, file.size));
            if (!opens_or_explains(changed.path)) SKIP_REST("%s with byte %zu changed", damage_me[k], i / 2);
            file.data[i / 2] = (char)((uint8_t)file.data[i / 2] ^ flips[i % 2]);
        }
    }
    close(changed.fd);
}

TEST(every_failing_allocation_is_reported)
{
    static const char *const files[] = {"everything.pt", "everything_legacy.pt", "six.safetensors"};
    for (int k = 0; k < 3; k++) {
        SW_AUTOFREE char *path = fixture(files[k]);
        int64_t live = sw_mem_live();
        sw_status status = SW_E_NOMEM;
        for (int64_t n = 1; n < 3000 && status != SW_OK; n++) {
            sw_weights *w = NULL;
            sw_mem_fail_after(n);
            status = sw_weights_open(path, &w, &err);
            sw_mem_fail_after(0);
            if (status != SW_OK) CHECK_INT(status, SW_E_NOMEM);
            sw_weights_close(w);
            CHECK_INT(sw_mem_live(), live);
        }
        CHECK_INT(status, SW_OK);
    }
}

/* A legacy file around the given object pickle, with one storage "0" of six floats. */
static const char *refusal_of_object(const char *object, size_t size)
{
    static const char head[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    static const char keys[] = "\x80\x02]U\0010a.\6\0\0\0\0\0\0\0";
    static const float values[6] = {-1.0f, -0.75f, -0.5f, -0.25f, 0.0f, 0.25f};
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    sw_buf_append(&file, head, sizeof head - 1);
    sw_buf_append(&file, object, size);
    sw_buf_append(&file, keys, sizeof keys - 1);
    sw_buf_append(&file, values, sizeof values);
    return refusal_of("object.pt", file.data, file.size);
}
#define REFUSAL(object) refusal_of_object(object, sizeof(object) - 1)
#define STORAGE(key, numel) "(U\007storagectorch\nFloatStorage\nU\001" key "U\003cpuK" numel "tQ"
/* {"a": _rebuild_tensor(storage, offset, size, stride)} */
#define TENSOR(key, numel, offset, size, stride)                                                \
    "\x80\x02}U\001actorch._utils\n_rebuild_tensor\n(" STORAGE(key, numel) "K" offset size stride "tRs."
#define BAD_END "; fetch the file again"

TEST(a_legacy_file_built_by_hand_is_read)
{
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\0", "K\2K\3\x86", "K\3K\1\x86")), "opened");
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\2", "K\4\x85", "K\1\x85")), "opened");
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\6", "K\0K\7\x86", "K\1K\1\x86")), "opened"); /* empty */
}

TEST(tensors_outside_their_storage_are_refused)
{
    static const char outside[] = ": tensor a lies outside its storage; the file is damaged, fetch it again";
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\1", "K\2K\3\x86", "K\3K\1\x86")), outside);
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\0", "K\2K\3\x86", "K\4K\1\x86")), outside);
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\6", ")", ")")), outside); /* a scalar past the end */
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\0", "J\377\377\377\177J\377\377\377\177J\377\377\377\177\x87", "K\0K\0K\0\x87")),
              outside); /* more elements than a number counts, of stride 0 */
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\0", "\x8a\x8\377\377\377\377\377\377\377\177\x85", "K\7\x85")), outside);
    CHECK_STR(REFUSAL(TENSOR("0", "\7", "\0", "K\2K\3\x86", "K\3K\1\x86")),
              ": storage 0 has 6 elements, but 7 are used; the file is damaged");
    CHECK_STR(REFUSAL(TENSOR("1", "\6", "\0", "K\2K\3\x86", "K\3K\1\x86")),
              ": storage 0 belongs to no tensor; the file is damaged");
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\0", "K\2K\3\x86", "K\1\x85")),
              ": tensor a has no usable shape; the file is damaged, fetch it again");
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\0", "J\377\377\377\377\x85", "K\1\x85")),
              ": tensor a has no usable shape; the file is damaged, fetch it again");
    CHECK_STR(REFUSAL(TENSOR("0", "\6", "\0", "(K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1t")),
              ": tensor a has 6 dimensions; slidewise reads at most 5");
}

TEST(damaged_pickles_are_refused_by_what_is_wrong)
{
    /* bytes count within the object's pickle */
    CHECK_STR(REFUSAL("\x80\x02i."), ": the pickle has instruction 0x69 at byte 2, which a checkpoint of tensors does not use; "
                                     "the file is damaged, or save it again with torch.save(model.state_dict(), ...)");
    CHECK_STR(REFUSAL("\x80\x02."), ": the pickle is damaged at byte 2: it takes a value that is not there" BAD_END);
    CHECK_STR(REFUSAL("\x80\x02("
                      "."), ": the pickle is damaged at byte 3: it takes a value that is not there" BAD_END);
    CHECK_STR(REFUSAL("0"), ": the pickle is damaged at byte 0: it takes a value that is not there" BAD_END);
    CHECK_STR(REFUSAL("N\x86"), ": the pickle is damaged at byte 1: it takes a value that is not there" BAD_END);
    CHECK_STR(REFUSAL("q\0"), ": the pickle is damaged at byte 0: it takes a value that is not there" BAD_END);
    CHECK_STR(REFUSAL("h\5"), ": the pickle is damaged at byte 0: it asks for a memo that was not set" BAD_END);
    CHECK_STR(REFUSAL("Nq\5h\4"), ": the pickle is damaged at byte 3: it asks for a memo that was not set" BAD_END);
    CHECK_STR(REFUSAL("Nr\377\377\377\377"), ": the pickle is damaged at byte 1: a memo number is too high" BAD_END);
    CHECK_STR(REFUSAL("Nt"), ": the pickle is damaged at byte 1: it looks for a mark that was not set" BAD_END);
    CHECK_STR(REFUSAL("(Nd"), ": the pickle is damaged at byte 2: a dictionary has a key without a value" BAD_END);
    CHECK_STR(REFUSAL("}(Nu"), ": the pickle is damaged at byte 3: a dictionary has a key without a value" BAD_END);
    CHECK_STR(REFUSAL("](NNu"), ": the pickle is damaged at byte 4: it adds to a dictionary that is not there" BAD_END);
    CHECK_STR(REFUSAL("}Na"), ": the pickle is damaged at byte 2: it adds to a list that is not there" BAD_END);
    CHECK_STR(REFUSAL("Ns"), ": the pickle is damaged at byte 1: it takes a value that is not there" BAD_END);
    CHECK_STR(REFUSAL("(Ne"), ": the pickle is damaged at byte 2: it adds to a list that is not there" BAD_END);
    CHECK_STR(REFUSAL("N)R"), ": the pickle is damaged at byte 2: it builds an object from what is not one" BAD_END);
    CHECK_STR(REFUSAL("NQ"), ": the pickle is damaged at byte 1: a storage is not named by a tuple" BAD_END);
    CHECK_STR(REFUSAL("NN\x93"), ": the pickle is damaged at byte 2: an object's name is not a text" BAD_END);
    CHECK_STR(REFUSAL("ccollections\nOrderedDict\nN\x85R"),
              ": the pickle is damaged at byte 27: a dictionary is made of what is not pairs" BAD_END);
    CHECK_STR(REFUSAL("ccollections\nOrderedDict\n]Na\x85R"),
              ": the pickle is damaged at byte 29: a dictionary is made of what is not pairs" BAD_END);
    CHECK_STR(REFUSAL("cargparse\nNamespace\n"),
              ": uses the Python object 'argparse.Namespace', which slidewise does not load; save the file again with only "
              "tensors (torch.save(model.state_dict(), ...))");
    CHECK_STR(REFUSAL("U\002osU\006sys\033em\x93"),
              ": uses the Python object 'os.sys?em', which slidewise does not load; save the file again with only tensors "
              "(torch.save(model.state_dict(), ...))");
    CHECK_STR(REFUSAL(")Q."), ": names a storage in a way that PyTorch does not; the file is damaged");
    CHECK_STR(REFUSAL("ctorch._utils\n_rebuild_tensor\n)R.\x80\x02].Q"),
              ": tensor tensor is not built from a storage; the file is damaged, fetch it again");
    CHECK_STR(REFUSAL("]q\0h\0a."), ": storage 0 belongs to no tensor; the file is damaged");
    CHECK_STR(REFUSAL("]q\0h\0a.\x80\x02]."), ": its collections hold each other without end; it is not a checkpoint");
    CHECK_STR(REFUSAL("N.\x80\x02N."), ": has no list of storages; the file is damaged");
    CHECK_STR(REFUSAL("N.\x80\x02]K\1a."), ": has a storage key that is no text; the file is damaged");
}

TEST(collections_that_double_at_every_level_end)
{
    /* l0 = [], l(i+1) = [li, li]: 2^30 paths from 200 bytes */
    SW_CLEANUP(sw_buf_free) sw_buf object = {0};
    sw_buf_puts(&object, "]");
    for (int i = 0; i < 30; i++) sw_buf_printf(&object, "q%c]h%ch%c\x86q\377h\377", i + 1, i + 1, i + 1);
    sw_buf_append(&object, ".\x80\x02].", 5);
    CHECK_STR(refusal_of_object(object.data, object.size),
              ": its collections hold each other without end; it is not a checkpoint");
}

TEST(foreign_and_short_files_are_refused)
{
    static const char pickle[] = "\x80\x02K\1.      ", protocol[] =
        "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xea\x03.";
    static const char big[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."
                              "\x80\x02}U\015little_endian\x89s.";
    static const char zip[] = "PK\3\4aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    CHECK_STR(refusal("/nowhere/a.pth"), ": no such weights file; check the path");
    CHECK_INT(err.code, SW_E_NOT_FOUND);
    CHECK_STR(refusal_of("short.pt", "PK\3\4", 4), ": not a weights file (too short); give a .safetensors, .pth, .pt or .bin");
    CHECK_STR(refusal_of("a.pt", "hello, I am a text", 18),
              ": not a weights file that slidewise reads (safetensors or a PyTorch checkpoint), or cut short");
    CHECK_STR(refusal_of("b.pt", pickle, sizeof pickle - 1),
              ": a Python pickle, but not a PyTorch checkpoint; save it with torch.save(model.state_dict(), ...)");
    CHECK_STR(refusal_of("c.pt", protocol, sizeof protocol - 1),
              ": a PyTorch checkpoint of an unknown protocol (known: 1001)");
    CHECK_STR(refusal_of("d.pt", big, sizeof big - 1), ": was saved on a big-endian machine; save it again on another");
    CHECK_STR(refusal_of("e.pt", protocol, 14), ": cut short (its pickle has no end); fetch the file again");
    CHECK(strncmp(refusal_of("f.pt", zip, sizeof zip - 1), ": a damaged or cut short PyTorch checkpoint (", 45) == 0);
    CHECK_INT(err.code, SW_E_FORMAT);
}

/* --- safetensors */

/* A file of this header and `bytes` bytes of data. */
static const char *refusal_of_header(const char *header, size_t bytes)
{
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    uint8_t length[8] = {(uint8_t)strlen(header), (uint8_t)(strlen(header) >> 8)};
    sw_buf_append(&file, length, 8);
    sw_buf_puts(&file, header);
    for (size_t i = 0; i < bytes; i++) sw_buf_append(&file, "", 1);
    return refusal_of("header.safetensors", file.data, file.size);
}
#define ONE(dtype, shape, offsets) "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define DAMAGED "; the file is damaged, fetch it again"

TEST(safetensors_of_its_own_writer_are_read)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_AUTOFREE char *path = fixture("six.safetensors");
    int64_t whole[3];
    float real[3];
    CHECK_OK(sw_weights_open(path, &w, &err));
    CHECK_INT(sw_weights_count(w), 6);
    CHECK(is(w, "a", SW_F32, "[2, 3]", -1, 0.25));
    CHECK(is(w, "b.half", SW_F16, "[3]", -1, 0.25));
    CHECK(is(w, "c.bf16", SW_BF16, "[3]", -1, 0.25));
    CHECK(is(w, "d.f64", SW_F64, "[3]", -1, 0.25));
    CHECK(is(w, "e.i64", SW_I64, "[3]", -4, 3));
    CHECK(is(w, "f.scalar", SW_F32, "[]", 7.5, 0));
    CHECK_STR(sw_weights_metadata(w, "made by"), "safetensors");
    CHECK_STR(sw_weights_path(w), path);
    CHECK_INT(sw_weights_read_f32(w, (size_t)sw_weights_find(w, "e.i64"), real, &err), SW_E_INVALID);
    CHECK_STR(err.message + strlen(path), ": e.i64 holds integers (i64), not weights");
    CHECK_INT(sw_weights_read_i64(w, (size_t)sw_weights_find(w, "a"), whole, &err), SW_E_INVALID);
    CHECK_STR(err.message + strlen(path), ": a holds floats (f32), not integers");
}

TEST(malformed_safetensors_headers_are_refused)
{
    CHECK_STR(refusal_of_header(ONE("F32", "[2]", "[0,8]"), 8), "opened");
    CHECK_STR(refusal_of_header(ONE("F32", "[0,5]", "[0,0]"), 8), "opened");
    CHECK_STR(refusal_of_header(ONE("F32", "[2]", "[0,8]"), 7), ": tensor a lies outside the file" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F32", "[2]", "[8,0]"), 8), ": tensor a lies outside the file" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F32", "[2]", "[-8,0]"), 8), ": tensor a lies outside the file" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F32", "[2]", "[0,4]"), 8), ": tensor a has a size that is not its shape's" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F8", "[2]", "[0,8]"), 8),
              ": tensor a has an element type that slidewise does not read" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F32", "[1,1,1,1,1,2]", "[0,8]"), 8),
              ": tensor a has no usable shape or data_offsets" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F32", "2", "[0,8]"), 8), ": tensor a has no usable shape or data_offsets" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F32", "[2]", "[0]"), 8), ": tensor a has no usable shape or data_offsets" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F32", "[4611686018427387904,4]", "[0,8]"), 8),
              ": tensor a has a shape larger than the file" DAMAGED);
    CHECK_STR(refusal_of_header(ONE("F32", "[-2]", "[0,8]"), 8), ": tensor a has a shape larger than the file" DAMAGED);
    CHECK_STR(refusal_of_header("[1, 2, 3]", 8), ": the safetensors header is not an object");
    CHECK_STR(refusal_of_header("{\"a\":", 8), ", line 1, column 5: not valid JSON: unexpected token near end of file");
    CHECK_STR(refusal_of("g.safetensors", "\377\377\0\0\0\0\0\0{}", 10),
              ": not a weights file that slidewise reads (safetensors or a PyTorch checkpoint), or cut short");
}

/* One tensor of each type, an awkward name, metadata. */
static bool write_sample(const char *path)
{
    const float f32[6] = {-1, -0.75f, -0.5f, -0.25f, 0, 0.25f};
    const double f64[2] = {-1, -0.75};
    const int64_t i64[1] = {123456789012};
    const uint8_t u8[3] = {0, 1, 2};
    sw_weights_writer *out = NULL;
    sw_shape six = SW_SHAPE(2, 3), two = SW_SHAPE(2), three = SW_SHAPE(3), empty = SW_SHAPE(0, 4), scalar = {0};
    bool ok = sw_weights_writer_new(&out, &err) == SW_OK &&
              sw_weights_writer_add(out, "a", SW_F32, &six, f32, &err) == SW_OK &&
              sw_weights_writer_add(out, "quote\" and \xc3\xa9", SW_F64, &two, f64, &err) == SW_OK &&
              sw_weights_writer_metadata(out, "step", "12", &err) == SW_OK &&
              sw_weights_writer_add(out, "tracked", SW_I64, &scalar, i64, &err) == SW_OK &&
              sw_weights_writer_metadata(out, "note", "line\nbreak", &err) == SW_OK &&
              sw_weights_writer_add(out, "empty", SW_F32, &empty, f32, &err) == SW_OK &&
              sw_weights_writer_add(out, "bytes", SW_U8, &three, u8, &err) == SW_OK &&
              sw_weights_writer_save(out, path, &err) == SW_OK;
    sw_weights_writer_free(out);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

TEST(what_the_writer_writes_comes_back_and_is_the_same_each_time)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_CLEANUP(sw_buf_free) sw_buf one = {0}, two = {0};
    SW_AUTOFREE char *first = sw_path_join(sw_test_dir(), "one.safetensors");
    SW_AUTOFREE char *second = sw_path_join(sw_test_dir(), "two.safetensors");
    CHECK(write_sample(first) && write_sample(second));
    CHECK_OK(sw_file_read(first, &one, &err));
    CHECK_OK(sw_file_read(second, &two, &err));
    CHECK_INT(one.size, two.size);
    CHECK(memcmp(one.data, two.data, one.size) == 0);
    CHECK_OK(sw_weights_open(first, &w, &err));
    CHECK_INT(sw_weights_count(w), 5);
    CHECK(is(w, "a", SW_F32, "[2, 3]", -1, 0.25));
    CHECK(is(w, "quote\" and \xc3\xa9", SW_F64, "[2]", -1, 0.25));
    CHECK(is(w, "tracked", SW_I64, "[]", 123456789012.0, 0));
    CHECK(is(w, "empty", SW_F32, "[0, 4]", 0, 0));
    CHECK(is(w, "bytes", SW_U8, "[3]", 0, 1));
    CHECK_STR(sw_weights_metadata(w, "step"), "12");
    CHECK_STR(sw_weights_metadata(w, "note"), "line\nbreak");
}

/* A bit that flips anywhere, or an end that is missing, is seen; only a file whose checksum can no longer be told as one may
 * be read, and that file says that it was not checked. */
TEST(every_bit_of_what_the_writer_writes_is_checked)
{
    SW_CLEANUP(sw_buf_free) sw_buf whole = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "whole.safetensors");
    SW_AUTOFREE char *damaged = sw_path_join(sw_test_dir(), "damaged.safetensors");
    char expected[600];
    int unchecked = 0;
    CHECK(write_sample(path));
    CHECK_OK(sw_file_read(path, &whole, &err));
    for (size_t bit = 0; bit < 8 * whole.size; bit += 3) {
        SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
        whole.data[bit / 8] ^= (char)(1 << bit % 8);
        CHECK_OK(sw_file_write(damaged, whole.data, whole.size, &err));
        whole.data[bit / 8] ^= (char)(1 << bit % 8);
        if (sw_weights_open(damaged, &w, &err) != SW_OK) continue;
        unchecked++;
        CHECK(!sw_weights_checked(w) && bit / 8 >= 8 && bit / 8 < 48); /* in the key itself */
    }
    CHECK(unchecked < 8 * 40 / 3 + 1);
    for (size_t size = 0; size < whole.size; size += 5) {
        SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
        CHECK_OK(sw_file_write(damaged, whole.data, size, &err));
        CHECK(sw_weights_open(damaged, &w, &err) == SW_E_FORMAT);
    }
    whole.data[whole.size - 1] ^= 1;
    CHECK_OK(sw_file_write(damaged, whole.data, whole.size, &err));
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    CHECK(sw_weights_open(damaged, &w, &err) == SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "%s: damaged: its bytes are not those that were written (checksum); take it from a copy", damaged);
    CHECK_STR(err.message, expected);
    CHECK_OK(sw_weights_open(path, &w, &err));
    CHECK(sw_weights_checked(w));
    CHECK_INT(strlen(sw_weights_metadata(w, "slidewise.crc32c")), 8);
}
