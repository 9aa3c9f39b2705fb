/* SPDX-License-Identifier: Apache-2.0 */
/* Files are built and taken apart in memory: our own reads and writes tell what is wrong with a disk, a rename makes them
 * whole, and HDF5's file locks, which fail on some network file systems, are never asked. */
#include "store/hdf5_coords.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/versions.h"

#define MOST_PATCHES ((int64_t)100000000)
#define MOST_CHUNK_ROWS 4096
#define DIGITS(x) #x
#define NUMBER(x) DIGITS(x)
#define IMAGE_STEP ((size_t)1 << 16)

/* The serial HDF5 is one state for the whole process and serves one thread at a time. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

const char *sw_hdf5_version(void)
{
    return NUMBER(H5_VERS_MAJOR) "." NUMBER(H5_VERS_MINOR) "." NUMBER(H5_VERS_RELEASE);
}

/* HDF5 prints its troubles on stderr unless it is told not to; what the host program set is put back. */
typedef struct quiet {
    H5E_auto2_t print;
    void *data;
} quiet;

static quiet hush(void)
{
    quiet q = {0};
    pthread_mutex_lock(&lock);
    H5Eget_auto2(H5E_DEFAULT, &q.print, &q.data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return q;
}

static void unhush(const quiet *q)
{
    H5Eset_auto2(H5E_DEFAULT, q->print, q->data);
    pthread_mutex_unlock(&lock);
}

/* Handles of a call, closed in the order opposite to their opening. */
typedef struct handles {
    hid_t id[8];
    herr_t (*close[8])(hid_t);
    int count;
} handles;

static hid_t keep(handles *h, hid_t id, herr_t (*close)(hid_t))
{
    if (id < 0) return id;
    h->id[h->count] = id;
    h->close[h->count++] = close;
    return id;
}

static void handles_close(handles *h)
{
    while (h->count > 0) {
        h->count--;
        h->close[h->count](h->id[h->count]);
    }
}

static sw_status defect(const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_INTERNAL, "HDF5 could not %s", what);
}

/* ---- writing */

static bool write_value(hid_t dataset, const sw_h5_attribute *a, hid_t space, hid_t file_type, hid_t memory_type)
{
    SW_CLEANUP(handles_close) handles h = {0};
    hid_t id = keep(&h, H5Acreate2(dataset, a->name, file_type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (id < 0) return false;
    if (a->type == SW_H5_TEXT) return H5Awrite(id, memory_type, &a->text) >= 0;
    return H5Awrite(id, memory_type, a->value) >= 0; /* HDF5 turns the doubles into the file's type */
}

static bool write_attribute(hid_t dataset, const sw_h5_attribute *a)
{
    SW_CLEANUP(handles_close) handles h = {0};
    hsize_t count = (hsize_t)a->count;
    hid_t space = keep(&h, a->count ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR), H5Sclose);
    if (space < 0) return false;
    if (a->type == SW_H5_INT) return write_value(dataset, a, space, H5T_STD_I64LE, H5T_NATIVE_DOUBLE);
    if (a->type == SW_H5_REAL) return write_value(dataset, a, space, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE);
    hid_t text = keep(&h, H5Tcopy(H5T_C_S1), H5Tclose); /* as Python's str: of any length, UTF-8 */
    if (text < 0 || H5Tset_size(text, H5T_VARIABLE) < 0 || H5Tset_cset(text, H5T_CSET_UTF8) < 0) return false;
    return write_value(dataset, a, space, text, text);
}

/* Python's tools store every row as a chunk of its own, which makes 100 000 patches take a second and more to write, and files four
 * times as large. No reader sees the difference. */
static hsize_t chunk_rows(int64_t n)
{
    return n < 1 ? 1 : n < MOST_CHUNK_ROWS ? (hsize_t)n : MOST_CHUNK_ROWS;
}

static bool write_dataset(hid_t file, const int64_t *xy, int64_t n, const sw_h5_attribute *attribute, size_t n_attributes)
{
    SW_CLEANUP(handles_close) handles h = {0};
    hsize_t size[2] = {(hsize_t)n, 2}, most[2] = {H5S_UNLIMITED, 2}, chunk[2] = {chunk_rows(n), 2};
    hid_t space = keep(&h, H5Screate_simple(2, size, most), H5Sclose);
    hid_t how = keep(&h, H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    if (space < 0 || how < 0) return false;
    if (H5Pset_chunk(how, 2, chunk) < 0 || H5Pset_obj_track_times(how, false) < 0) return false;
    hid_t set = keep(&h, H5Dcreate2(file, "coords", H5T_STD_I64LE, space, H5P_DEFAULT, how, H5P_DEFAULT), H5Dclose);
    if (set < 0) return false;
    if (n > 0 && H5Dwrite(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, xy) < 0) return false;
    for (size_t i = 0; i < n_attributes; i++) {
        if (!write_attribute(set, &attribute[i])) return false;
    }
    return true;
}

/* An error of HDF5 here can only be a lack of memory or a defect: nothing touches a disk. */
static sw_status write_image(const int64_t *xy, int64_t n, const sw_h5_attribute *attribute, size_t n_attributes, sw_buf *out,
                             sw_error *err)
{
    SW_CLEANUP(handles_close) handles h = {0};
    hid_t how = keep(&h, H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (how < 0 || H5Pset_fapl_core(how, IMAGE_STEP, false) < 0) return defect("set up a file in memory", err);
    hid_t file = keep(&h, H5Fcreate("coords.h5", H5F_ACC_TRUNC, H5P_DEFAULT, how), H5Fclose);
    if (file < 0) return defect("begin a file in memory", err);
    if (!write_dataset(file, xy, n, attribute, n_attributes)) return defect("put the coordinates together", err);
    if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) return defect("finish a file in memory", err);
    ssize_t size = H5Fget_file_image(file, NULL, 0);
    if (size <= 0) return defect("tell the size of a file in memory", err);
    SW_AUTOFREE void *image = sw_malloc((size_t)size);
    if (!image) return sw_nomem(err);
    if (H5Fget_file_image(file, image, (size_t)size) != size) return defect("hand over a file in memory", err);
    sw_buf_append(out, image, (size_t)size);
    return sw_buf_status(out, err);
}

sw_status sw_h5_coords_write(const int64_t *xy, int64_t n, const sw_h5_attribute *attribute, size_t n_attributes, sw_buf *out,
                             sw_error *err)
{
    SW_CLEANUP(unhush) quiet q = hush();
    (void)q;
    return write_image(xy, n, attribute, n_attributes, out, err);
}

/* ---- reading */

static sw_status not_hdf5(const char *path, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: not an HDF5 file, or a damaged one; give the .h5 that CLAM, TRIDENT or slidewise wrote",
                        path);
}

static sw_status cut_coords(const char *path, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: its dataset \"coords\" is damaged; make the file again", path);
}

static sw_status read_number(hid_t id, hid_t space, sw_h5_wanted *w)
{
    double value[16];
    hssize_t count = H5Sget_simple_extent_npoints(space);
    if (count < 1 || count > 16 || H5Aread(id, H5T_NATIVE_DOUBLE, value) < 0) return SW_OK; /* as if it were absent */
    w->count = (int)count;
    w->value[0] = value[0];
    w->value[1] = value[count > 1];
    return SW_OK;
}

/* Text of a fixed length, as numpy's bytes; or of any length, as Python's str. */
static sw_status read_text(hid_t id, hid_t type, hid_t space, sw_h5_wanted *w, sw_error *err)
{
    htri_t any_length = H5Tis_variable_str(type);
    if (any_length < 0 || H5Sget_simple_extent_npoints(space) != 1) return SW_OK;
    if (any_length) {
        char *text = NULL;
        if (H5Aread(id, type, &text) < 0 || !text) return SW_OK;
        w->text = sw_strdup(text);
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, &text);
    } else {
        size_t size = H5Tget_size(type);
        w->text = size > 0 && size < IMAGE_STEP ? sw_calloc(size + 1, 1) : NULL;
        if (size == 0 || size >= IMAGE_STEP) return SW_OK;
        if (w->text && H5Aread(id, type, w->text) < 0) w->text[0] = '\0';
    }
    return w->text ? SW_OK : sw_nomem(err);
}

static sw_status read_attribute(hid_t dataset, sw_h5_wanted *w, sw_error *err)
{
    SW_CLEANUP(handles_close) handles h = {0};
    if (H5Aexists(dataset, w->name) <= 0) return SW_OK;
    hid_t id = keep(&h, H5Aopen(dataset, w->name, H5P_DEFAULT), H5Aclose);
    hid_t type = id < 0 ? -1 : keep(&h, H5Aget_type(id), H5Tclose);
    hid_t space = id < 0 ? -1 : keep(&h, H5Aget_space(id), H5Sclose);
    if (type < 0 || space < 0) return SW_OK;
    H5T_class_t class = H5Tget_class(type);
    if (w->is_text) return class == H5T_STRING ? read_text(id, type, space, w, err) : SW_OK;
    return class == H5T_INTEGER || class == H5T_FLOAT ? read_number(id, space, w) : SW_OK;
}

/* Shape [n, 2]; nothing at all has the shape [0] in Python's tools. */
static sw_status shape_of(hid_t dataset, const char *path, int64_t *n, sw_error *err)
{
    SW_CLEANUP(handles_close) handles h = {0};
    hsize_t size[2] = {0, 0};
    hid_t space = keep(&h, H5Dget_space(dataset), H5Sclose);
    int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    if (rank == 1 || rank == 2) rank = H5Sget_simple_extent_dims(space, size, NULL);
    if (rank < 0) return cut_coords(path, err);
    *n = (int64_t)size[0];
    if (rank == 1 && size[0] == 0) return SW_OK;
    if (rank == 2 && size[1] == 2 && size[0] <= (hsize_t)MOST_PATCHES) return SW_OK;
    if (rank == 2 && size[1] == 5) {
        return sw_error_set(err, SW_E_UNSUPPORTED,
                            "%s: its coordinates have five columns, as AtlasPatch writes them; slidewise reads CLAM's and TRIDENT's, "
                            "which have two (x, y)",
                            path);
    }
    return sw_error_set(err, SW_E_FORMAT, "%s: its dataset \"coords\" is no table of two columns (x, y); slidewise reads the files of CLAM and TRIDENT",
                        path);
}

static sw_status read_dataset(hid_t dataset, const char *path, int64_t **xy, int64_t *n, sw_error *err)
{
    SW_CLEANUP(handles_close) handles h = {0};
    hid_t type = keep(&h, H5Dget_type(dataset), H5Tclose);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    SW_TRY(shape_of(dataset, path, n, err));
    if (class != H5T_INTEGER && class != H5T_FLOAT) return cut_coords(path, err);
    *xy = sw_calloc((size_t)*n * 2 + 1, sizeof **xy);
    if (!*xy) return sw_nomem(err);
    if (*n > 0 && H5Dread(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, *xy) < 0) return cut_coords(path, err);
    return SW_OK;
}

static sw_status read_image(const char *path, sw_buf *bytes, int64_t **xy, int64_t *n, sw_h5_wanted *wanted, size_t n_wanted,
                            sw_error *err)
{
    SW_CLEANUP(handles_close) handles h = {0};
    hid_t how = keep(&h, H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (how < 0 || H5Pset_fapl_core(how, IMAGE_STEP, false) < 0) return defect("set up a file in memory", err);
    if (bytes->size == 0 || H5Pset_file_image(how, bytes->data, bytes->size) < 0) return not_hdf5(path, err);
    hid_t file = keep(&h, H5Fopen("coords.h5", H5F_ACC_RDONLY, how), H5Fclose);
    if (file < 0) return not_hdf5(path, err);
    hid_t set = H5Lexists(file, "coords", H5P_DEFAULT) > 0 ? keep(&h, H5Dopen2(file, "coords", H5P_DEFAULT), H5Dclose) : -1;
    if (set < 0) {
        return sw_error_set(err, SW_E_FORMAT,
                            "%s: no dataset \"coords\" in it; give a file of coordinates, such as CLAM's patches/SLIDE.h5 or TRIDENT's "
                            "patches/SLIDE_patches.h5",
                            path);
    }
    SW_TRY(read_dataset(set, path, xy, n, err));
    for (size_t i = 0; i < n_wanted; i++) SW_TRY(read_attribute(set, &wanted[i], err));
    return SW_OK;
}

/* ---- in a process of its own */

/* HDF5 trusts the addresses and sizes of a file, so that a damaged one can end the process that reads it, or keep it for ever. A
 * child reads, and answers with this, then the texts of the attributes, then the positions. */
typedef struct answer {
    sw_status status;
    sw_error error;
    int64_t n;
} answer;

typedef struct answer_attribute {
    int count;
    double value[2];
    int64_t text_size; /* -1: none */
} answer_attribute;

enum { NO_MEMORY = 3 };

/* Of the processor, for a file of this size. Python's tools write a row as a chunk of its own, and of such a file HDF5 reads 10 MB
 * in a second. */
static rlim_t most_seconds(size_t bytes)
{
    return 2 + 2 * (rlim_t)(bytes >> 20);
}

static void put_answer(sw_buf *out, const answer *a, const int64_t *xy, const sw_h5_wanted *wanted, size_t n_wanted)
{
    sw_buf_append(out, a, sizeof *a);
    for (size_t i = 0; i < n_wanted; i++) {
        answer_attribute w = {wanted[i].count, {wanted[i].value[0], wanted[i].value[1]}, wanted[i].text ? (int64_t)strlen(wanted[i].text) : -1};
        sw_buf_append(out, &w, sizeof w);
        if (wanted[i].text) sw_buf_append(out, wanted[i].text, (size_t)w.text_size);
    }
    if (a->status == SW_OK) sw_buf_append(out, xy, (size_t)a->n * 2 * sizeof *xy);
}

static bool write_all(int to, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(to, bytes, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

/* The child's whole life. */
static void answer_from_child(int to, const char *path, sw_buf *bytes, sw_h5_wanted *wanted, size_t n_wanted)
{
    const struct rlimit none = {0, 0}, work = {most_seconds(bytes->size), most_seconds(bytes->size) + 1};
    answer a = {0};
    int64_t *xy = NULL;
    sw_buf out = {0};
    setrlimit(RLIMIT_CORE, &none); /* a crash here is no news */
    signal(SIGXCPU, SIG_DFL);
    setrlimit(RLIMIT_CPU, &work);
    a.status = read_image(path, bytes, &xy, &a.n, wanted, n_wanted, &a.error);
    put_answer(&out, &a, xy, wanted, n_wanted);
    _exit(out.failed ? NO_MEMORY : write_all(to, out.data, out.size) ? 0 : 1); /* ban-waiver: the child ends here */
}

/* Exactly `size` bytes of the child's; false: it ended before. */
static bool read_all(int from, void *bytes, size_t size)
{
    for (char *to = bytes; size > 0;) {
        ssize_t n = read(from, to, size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        to += n;
        size -= (size_t)n;
    }
    return true;
}

/* *whole false: the child ended before its answer did, or the answer is none. */
static sw_status take_answer(int from, int64_t **xy, int64_t *n, sw_h5_wanted *wanted, size_t n_wanted, bool *whole, sw_error *err)
{
    answer a;
    *whole = read_all(from, &a, sizeof a) && a.n >= 0 && a.n <= MOST_PATCHES;
    for (size_t i = 0; i < n_wanted && *whole; i++) {
        answer_attribute w;
        *whole = read_all(from, &w, sizeof w) && w.text_size < (int64_t)1 << 30;
        if (!*whole) break;
        wanted[i].count = w.count;
        memcpy(wanted[i].value, w.value, sizeof w.value);
        if (w.text_size < 0) continue;
        wanted[i].text = sw_calloc((size_t)w.text_size + 1, 1);
        if (!wanted[i].text) return sw_nomem(err);
        *whole = read_all(from, wanted[i].text, (size_t)w.text_size);
    }
    if (!*whole) return SW_OK;
    a.error.message[sizeof a.error.message - 1] = '\0';
    if (a.status != SW_OK) return sw_error_set(err, a.status, "%s", a.error.message);
    *n = a.n;
    *xy = sw_calloc((size_t)a.n * 2 + 1, sizeof **xy);
    if (!*xy) return sw_nomem(err);
    *whole = read_all(from, *xy, (size_t)a.n * 2 * sizeof **xy);
    return SW_OK;
}

/* How the child ended that gave no answer; `state` -1: nobody knows. */
static sw_status lost_child(const char *path, size_t bytes, int state, sw_error *err)
{
    if (state != -1 && WIFEXITED(state) && WEXITSTATUS(state) == NO_MEMORY) return sw_nomem(err);
    if (state != -1 && WIFSIGNALED(state) && WTERMSIG(state) == SIGXCPU)
        return sw_error_set(err, SW_E_FORMAT, "%s: the HDF5 library came to no end with it in %d s; the file is damaged, make it again", path,
                            (int)most_seconds(bytes));
    if (state != -1 && WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL) /* the system's way where memory is short; no fault of the file's */
        return sw_error_set(err, SW_E_IO, "%s: the process that read it was killed (is memory short?); try again", path);
    return sw_error_set(err, SW_E_FORMAT, "%s: the HDF5 library crashed on it; the file is damaged, make it again", path);
}

sw_status sw_h5_coords_read(const char *path, int64_t **xy, int64_t *n, sw_h5_wanted *wanted, size_t n_wanted, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_TRY(sw_file_read(path, &bytes, err));
    SW_AUTOFREE int64_t *read = NULL;
    SW_CLEANUP(unhush) quiet q = hush();
    int ends[2], state = -1;
    bool whole = false;
    (void)q;
    if (pipe2(ends, O_CLOEXEC) != 0) return sw_error_set(err, SW_E_IO, "%s: no pipe to the process that reads it: %s", path, strerror(errno));
    pid_t child = fork();
    if (child == 0) answer_from_child(ends[1], path, &bytes, wanted, n_wanted);
    int why = errno;
    close(ends[1]);
    sw_status status = child > 0 ? take_answer(ends[0], &read, n, wanted, n_wanted, &whole, err) : SW_OK;
    close(ends[0]); /* a child that still writes ends by that */
    if (child < 0) return sw_error_set(err, SW_E_IO, "%s: no process to read it in: %s", path, strerror(why));
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {}
    if (status == SW_OK && !whole) return lost_child(path, bytes.size, state, err);
    if (status == SW_OK) *xy = SW_STEAL(read);
    return status;
}
