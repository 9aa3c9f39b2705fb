/* SPDX-License-Identifier: Apache-2.0 */
#include "store/hdf5_features.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

#define MOST_PATCHES ((hsize_t)100000000)
#define MOST_DIM ((hsize_t)1 << 20)
#define MOST_VALUES ((hsize_t)1 << 36)
#define HEAD_BYTES ((size_t)4 << 20) /* of work, for the time that it may take */
#define STEP_ROWS 20000              /* that are looked at for the step */

static const char made_by[] = "CLAM, TRIDENT, STAMP or slidewise";

/* ---- opening, in the child */

static sw_status open_file(const char *path, sw_h5_handles *h, hid_t *file, sw_error *err)
{
    hid_t how = sw_h5_keep(h, H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (how < 0) return sw_h5_defect("set up the reading of a file", err);
    /* Locks of HDF5 fail on some network file systems, and nobody writes into a file that has its name. */
#if H5_VERSION_GE(1, 12, 1) || (H5_VERS_MINOR == 10 && H5_VERS_RELEASE >= 7)
    H5Pset_file_locking(how, false, true);
#else
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1); /* of this child */
#endif
    *file = sw_h5_keep(h, H5Fopen(path, H5F_ACC_RDONLY, how), H5Fclose);
    return *file < 0 ? sw_h5_damaged(path, made_by, err) : SW_OK;
}

static hid_t open_set(sw_h5_handles *h, hid_t file, const char *name)
{
    if (H5Lexists(file, name, H5P_DEFAULT) <= 0) return -1;
    return sw_h5_keep(h, H5Dopen2(file, name, H5P_DEFAULT), H5Dclose);
}

static sw_status no_features(const char *path, hid_t file, sw_error *err)
{
    if (H5Lexists(file, "features", H5P_DEFAULT) > 0 || H5Lexists(file, "feats", H5P_DEFAULT) > 0)
        return sw_error_set(err, SW_E_UNSUPPORTED, "%s: its \"features\" are no dataset; slidewise reads the files of %s", path, made_by);
    return sw_error_set(err, SW_E_FORMAT, "%s: no dataset \"features\" (or \"feats\") in it; give a file of features, such as CLAM's h5_files/SLIDE.h5 or TRIDENT's features_ENCODER/SLIDE.h5",
                        path);
}

static sw_status other_shape(const char *path, const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: its features are %s; slidewise reads one row of numbers per patch, [n, width] or [1, n, width]", path, what);
}

/* Sizes of a dataset without a leading 1: its rank, at most 2; -1: damaged, -2: more than that. */
static int shape_of(hid_t set, hsize_t size[2])
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hsize_t all[H5S_MAX_RANK] = {0};
    hid_t space = sw_h5_keep(&h, H5Dget_space(set), H5Sclose);
    int rank = space < 0 ? -1 : H5Sget_simple_extent_dims(space, all, NULL), first = rank == 3 && all[0] == 1;
    if (rank < 0) return -1;
    if (rank - first > 2) return -2;
    size[0] = rank - first > 0 ? all[first] : 1;
    size[1] = rank - first > 1 ? all[first + 1] : 0;
    return rank - first;
}

static sw_status features_shape(const char *path, hid_t set, sw_h5_features *out, sw_error *err)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hsize_t size[2] = {0, 0};
    int rank = shape_of(set, size);
    hid_t type = sw_h5_keep(&h, H5Dget_type(set), H5Tclose);
    if (rank == -1 || type < 0) return sw_error_set(err, SW_E_FORMAT, "%s: its features are damaged; make the file again", path);
    if (H5Tget_class(type) != H5T_FLOAT) return other_shape(path, "no floating-point numbers", err);
    if (rank == 1 && size[0] == 0) return SW_OK;
    if (rank == 1) return other_shape(path, "one row for the whole slide", err);
    if (rank != 2) return other_shape(path, "no table", err);
    if (size[0] > MOST_PATCHES || size[1] > MOST_DIM || size[0] * size[1] > MOST_VALUES)
        return sw_error_set(err, SW_E_FORMAT, "%s: its features are %llu x %llu, more than any slide has; the file is damaged, make it again", path,
                            (unsigned long long)size[0], (unsigned long long)size[1]);
    if (size[0] > 0 && size[1] == 0) return other_shape(path, "of width 0", err);
    out->n = (int64_t)size[0];
    out->dim = (int64_t)size[1];
    return SW_OK;
}

static sw_status open_features(const char *path, sw_h5_handles *h, hid_t *file, hid_t *set, sw_h5_features *out, sw_error *err)
{
    SW_TRY(open_file(path, h, file, err));
    *set = open_set(h, *file, "features");
    if (*set < 0) *set = open_set(h, *file, "feats");
    if (*set < 0) return no_features(path, *file, err);
    return features_shape(path, *set, out, err);
}

/* ---- reading, in the child */

/* The first `n` rows of the first two columns of [n, columns] or [1, n, columns]. */
static bool read_positions(hid_t set, hsize_t n, double *xy)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t space = sw_h5_keep(&h, H5Dget_space(set), H5Sclose);
    int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    hsize_t zero[3] = {0, 0, 0}, count[3] = {1, 1, 1}, table[2] = {n, 2};
    if (rank < 2 || rank > 3) return false;
    count[rank - 2] = n;
    count[rank - 1] = 2;
    hid_t memory = sw_h5_keep(&h, H5Screate_simple(2, table, NULL), H5Sclose);
    if (memory < 0 || H5Sselect_hyperslab(space, H5S_SELECT_SET, zero, NULL, count, NULL) < 0) return false;
    return H5Dread(set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, xy) >= 0;
}

static int compare_reals(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The distance that most patches have from the one before them in the list, where both lie in one row or column: tools list their
 * grids so, and a grid of each contour. */
static double step_of(const double *xy, int64_t n, double *room)
{
    int64_t found = 0, best = 0;
    double step = 0;
    for (int64_t i = 1; i < n; i++) {
        double dx = fabs(xy[2 * i] - xy[2 * i - 2]), dy = fabs(xy[2 * i + 1] - xy[2 * i - 1]);
        if ((dx == 0) != (dy == 0)) room[found++] = dx + dy;
    }
    if (found > 1) qsort(room, (size_t)found, sizeof *room, compare_reals);
    for (int64_t i = 0, run = 0; i < found; i++) {
        run = i > 0 && room[i] == room[i - 1] ? run + 1 : 1;
        if (run <= best) continue;
        best = run;
        step = room[i];
    }
    return isfinite(step) ? step : 0;
}

static sw_status find_step(hid_t set, sw_h5_features *out, sw_error *err)
{
    int64_t n = out->n < STEP_ROWS ? out->n : STEP_ROWS;
    SW_AUTOFREE double *xy = sw_calloc((size_t)n * 2 + 1, sizeof *xy);
    SW_AUTOFREE double *room = sw_calloc((size_t)n + 1, sizeof *room);
    if (!xy || !room) return sw_nomem(err);
    if (read_positions(set, (hsize_t)n, xy)) out->step = step_of(xy, n, room);
    return SW_OK;
}

static sw_status look_at_coords(const char *path, hid_t set, sw_h5_features *out, sw_error *err)
{
    hsize_t size[2] = {0, 0};
    int rank = shape_of(set, size);
    if (rank != 2 || size[1] < 2) return out->n == 0 ? SW_OK : sw_error_set(err, SW_E_FORMAT, "%s: its dataset \"coords\" is no table of two columns (x, y)", path);
    if (size[0] != (hsize_t)out->n)
        return sw_error_set(err, SW_E_FORMAT, "%s: it holds features of %lld patches and positions of %llu; make the file again", path, (long long)out->n,
                            (unsigned long long)size[0]);
    out->has_coords = out->n > 0;
    return SW_OK;
}

/* Features as 32-bit floats. Those of 16 bits are widened by us: HDF5 takes 20 ns for each. */
static float widen(uint16_t half)
{
    uint32_t exponent = half >> 10 & 31, mantissa = half & 1023, bits;
    float value;
    if (exponent == 0) {
        value = (float)mantissa * 0x1p-24f;
        return half & 0x8000 ? -value : value;
    }
    bits = exponent == 31 ? 0x7f800000u | mantissa << 13 : (exponent + 112) << 23 | mantissa << 13;
    bits |= (uint32_t)(half & 0x8000) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static hid_t half_type(sw_h5_handles *h)
{
    hid_t half = sw_h5_keep(h, H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
    if (half < 0 || H5Tset_fields(half, 15, 10, 5, 0, 10) < 0 || H5Tset_precision(half, 16) < 0) return -1;
    return H5Tset_ebias(half, 15) < 0 || H5Tset_size(half, 2) < 0 ? -1 : half;
}

static bool is_little(void)
{
    const uint16_t one = 1;
    return *(const uint8_t *)&one == 1;
}

static sw_status read_values(const char *path, hid_t set, int64_t count, float *out, sw_error *err)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t half = half_type(&h), type = sw_h5_keep(&h, H5Dget_type(set), H5Tclose);
    bool narrow = half >= 0 && type >= 0 && is_little() && H5Tequal(half, type) > 0;
    SW_AUTOFREE uint16_t *value = narrow ? sw_malloc((size_t)count * sizeof *value) : NULL;
    if (narrow && !value) return sw_nomem(err);
    if (H5Dread(set, narrow ? half : H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, narrow ? (void *)value : out) < 0)
        return sw_error_set(err, SW_E_FORMAT, "%s: its features are damaged; make the file again", path);
    for (int64_t i = 0; narrow && i < count; i++) out[i] = widen(value[i]);
    return SW_OK;
}

static sw_status check_values(const char *path, const float *value, int64_t n, int64_t dim, sw_error *err)
{
    for (int64_t i = 0; i < n * dim; i++) {
        if (isfinite(value[i])) continue;
        return sw_error_set(err, SW_E_FORMAT, "%s: feature %lld of patch %lld is %s; features must be finite numbers, make the file again", path,
                            (long long)(i % dim), (long long)(i / dim), isnan(value[i]) ? "not a number (NaN)" : "infinite");
    }
    return SW_OK;
}

/* ---- what is asked of the child */

typedef struct asking {
    const char *path;
    sw_h5_features found;
    sw_h5_wanted *wanted;
    size_t n_wanted;
    const sw_h5_features *known;
    void *values; /* of the caller in the parent, of the child in the child */
    size_t bytes;
    sw_h5_attributes *attributes;
} asking;

static sw_status ask(asking *a, size_t work, sw_status (*read)(void *, sw_error *), bool (*send)(void *, int),
                     sw_status (*take)(void *, int, bool *, sw_error *), sw_error *err)
{
    int file = open(a->path, O_RDONLY | O_CLOEXEC); /* the system's reasons, which HDF5 does not tell */
    if (file < 0) return sw_error_set(err, sw_status_of_errno(errno), "cannot read %s: %s", a->path, strerror(errno));
    close(file);
    const sw_h5_reading reading = {.path = a->path, .bytes = work, .read = read, .send = send, .take = take, .ctx = a};
    return sw_h5_read_apart(&reading, err);
}

static bool answers_nothing(const asking *a)
{
    for (size_t i = 0; i < a->n_wanted; i++) {
        if (a->wanted[i].count > 0) return false;
    }
    return true;
}

static sw_status read_head(void *ctx, sw_error *err)
{
    asking *a = ctx;
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t file = -1, set = -1;
    SW_TRY(open_features(a->path, &h, &file, &set, &a->found, err));
    hid_t coords = open_set(&h, file, "coords");
    if (coords >= 0) SW_TRY(look_at_coords(a->path, coords, &a->found, err));
    for (size_t i = 0; i < a->n_wanted; i++) {
        sw_h5_wanted *w = &a->wanted[i];
        if (coords >= 0) SW_TRY(sw_h5_get_attribute(coords, w, err));
        if (w->count == 0 && !w->text) SW_TRY(sw_h5_get_attribute(file, w, err));
    }
    return a->found.has_coords && answers_nothing(a) ? find_step(coords, &a->found, err) : SW_OK;
}

static bool send_head(void *ctx, int to)
{
    const asking *a = ctx;
    return sw_h5_send(to, &a->found, sizeof a->found) && sw_h5_send_wanted(to, a->wanted, a->n_wanted);
}

static sw_status take_head(void *ctx, int from, bool *whole, sw_error *err)
{
    asking *a = ctx;
    *whole = sw_h5_receive(from, &a->found, sizeof a->found);
    return *whole ? sw_h5_receive_wanted(from, a->wanted, a->n_wanted, whole, err) : SW_OK;
}

sw_status sw_h5_features_look(const char *path, sw_h5_features *out, sw_h5_wanted *wanted, size_t n_wanted, sw_error *err)
{
    asking a = {.path = path, .wanted = wanted, .n_wanted = n_wanted};
    SW_TRY(ask(&a, HEAD_BYTES, read_head, send_head, take_head, err));
    *out = a.found;
    return SW_OK;
}

/* The file, which must still be what it was when it was looked at, with room for what is read of it. */
static sw_status open_known(asking *a, sw_h5_handles *h, hid_t *file, hid_t *set, sw_error *err)
{
    SW_TRY(open_features(a->path, h, file, set, &a->found, err));
    if (a->found.n != a->known->n || a->found.dim != a->known->dim)
        return sw_error_set(err, SW_E_FORMAT, "%s: it was written anew in the meantime (features of %lld x %lld, now %lld x %lld); start again", a->path,
                            (long long)a->known->n, (long long)a->known->dim, (long long)a->found.n, (long long)a->found.dim);
    a->values = sw_calloc(a->bytes + 1, 1);
    return a->values ? SW_OK : sw_nomem(err);
}

static sw_status read_rows(void *ctx, sw_error *err)
{
    asking *a = ctx;
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t file = -1, set = -1;
    SW_TRY(open_known(a, &h, &file, &set, err));
    SW_TRY(read_values(a->path, set, a->known->n * a->known->dim, a->values, err));
    return check_values(a->path, a->values, a->known->n, a->known->dim, err);
}

static sw_status read_places(void *ctx, sw_error *err)
{
    asking *a = ctx;
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t file = -1, set = -1;
    SW_TRY(open_known(a, &h, &file, &set, err));
    hid_t coords = open_set(&h, file, "coords");
    if (coords >= 0) SW_TRY(look_at_coords(a->path, coords, &a->found, err));
    if (a->found.has_coords && read_positions(coords, (hsize_t)a->known->n, a->values)) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "%s: its dataset \"coords\" is damaged; make the file again", a->path);
}

static bool send_values(void *ctx, int to)
{
    const asking *a = ctx;
    return sw_h5_send(to, a->values, a->bytes);
}

static sw_status take_values(void *ctx, int from, bool *whole, sw_error *err)
{
    const asking *a = ctx;
    (void)err;
    *whole = sw_h5_receive(from, a->values, a->bytes);
    return SW_OK;
}

sw_status sw_h5_features_read(const char *path, const sw_h5_features *known, float *out, sw_error *err)
{
    asking a = {.path = path, .known = known, .values = out, .bytes = (size_t)(known->n * known->dim) * sizeof *out};
    return known->n == 0 ? SW_OK : ask(&a, HEAD_BYTES + a.bytes, read_rows, send_values, take_values, err);
}

sw_status sw_h5_features_coords(const char *path, const sw_h5_features *known, double *xy, sw_error *err)
{
    asking a = {.path = path, .known = known, .values = xy, .bytes = (size_t)known->n * 2 * sizeof *xy};
    return known->n == 0 ? SW_OK : ask(&a, HEAD_BYTES + a.bytes, read_places, send_values, take_values, err);
}

/* ---- attributes alone */

static sw_status read_attributes(void *ctx, sw_error *err)
{
    asking *a = ctx;
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t file = -1;
    SW_TRY(open_file(a->path, &h, &file, err));
    hid_t coords = open_set(&h, file, "coords");
    return coords < 0 ? SW_OK : sw_h5_get_attributes(coords, a->attributes, err);
}

static bool send_attributes(void *ctx, int to)
{
    const asking *a = ctx;
    return sw_h5_send_attributes(to, a->attributes);
}

static sw_status take_attributes(void *ctx, int from, bool *whole, sw_error *err)
{
    const asking *a = ctx;
    return sw_h5_receive_attributes(from, a->attributes, whole, err);
}

sw_status sw_h5_coords_attributes(const char *path, sw_h5_attributes *out, sw_error *err)
{
    asking a = {.path = path, .attributes = out};
    return ask(&a, HEAD_BYTES, read_attributes, send_attributes, take_attributes, err);
}

/* ---- writing */

static bool write_table(hid_t file, const char *name, hid_t type, hid_t memory, int64_t n, int64_t width, const void *values,
                        const sw_h5_attribute *attribute, size_t n_attributes)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hsize_t size[2] = {(hsize_t)n, (hsize_t)width};
    hid_t space = sw_h5_keep(&h, H5Screate_simple(2, size, NULL), H5Sclose);
    hid_t how = sw_h5_keep(&h, H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    if (space < 0 || how < 0 || H5Pset_obj_track_times(how, false) < 0) return false;
    hid_t set = sw_h5_keep(&h, H5Dcreate2(file, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT), H5Dclose);
    if (set < 0 || (n > 0 && H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)) return false;
    for (size_t i = 0; i < n_attributes; i++) {
        if (!sw_h5_put_attribute(set, &attribute[i])) return false;
    }
    return true;
}

sw_status sw_h5_features_write(const sw_h5_features_file *f, sw_buf *out, sw_error *err)
{
    SW_CLEANUP(sw_h5_unhush) sw_h5_quiet q = sw_h5_hush();
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    int64_t file = -1;
    (void)q;
    SW_TRY(sw_h5_image_begin(&h, (size_t)f->n * ((size_t)f->dim * sizeof(float) + 2 * sizeof(int64_t)), &file, err));
    bool good = write_table(file, "features", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, f->n, f->dim, f->features, NULL, 0) &&
                (!f->xy || write_table(file, "coords", H5T_STD_I64LE, H5T_NATIVE_INT64, f->n, 2, f->xy, f->of_coords, f->n_of_coords));
    for (size_t i = 0; i < f->n_of_file && good; i++) good = sw_h5_put_attribute(file, &f->of_file[i]);
    return good ? sw_h5_image_end(file, out, err) : sw_h5_defect("put the features together", err);
}
