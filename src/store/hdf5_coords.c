/* SPDX-License-Identifier: Apache-2.0 */
#include "store/hdf5_coords.h"

#include <hdf5.h>

#include "base/fs.h"
#include "base/mem.h"

#define MOST_PATCHES ((int64_t)100000000)
#define MOST_CHUNK_ROWS 4096
#define MOST_WANTED 32 /* attributes, of a process that reads many files */
#define IMAGE_STEP ((size_t)1 << 16)

static const char made_by[] = "CLAM, TRIDENT or slidewise";

/* ---- writing */

/* Python's tools store every row as a chunk of its own, which makes 100 000 patches take a second and more to write, and files four
 * times as large. No reader sees the difference. */
static hsize_t chunk_rows(int64_t n)
{
    return n < 1 ? 1 : n < MOST_CHUNK_ROWS ? (hsize_t)n : MOST_CHUNK_ROWS;
}

static bool write_dataset(hid_t file, const int64_t *xy, int64_t n, const sw_h5_attribute *attribute, size_t n_attributes)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hsize_t size[2] = {(hsize_t)n, 2}, most[2] = {H5S_UNLIMITED, 2}, chunk[2] = {chunk_rows(n), 2};
    hid_t space = sw_h5_keep(&h, H5Screate_simple(2, size, most), H5Sclose);
    hid_t how = sw_h5_keep(&h, H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    if (space < 0 || how < 0) return false;
    if (H5Pset_chunk(how, 2, chunk) < 0 || H5Pset_obj_track_times(how, false) < 0) return false;
    hid_t set = sw_h5_keep(&h, H5Dcreate2(file, "coords", H5T_STD_I64LE, space, H5P_DEFAULT, how, H5P_DEFAULT), H5Dclose);
    if (set < 0) return false;
    if (n > 0 && H5Dwrite(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, xy) < 0) return false;
    for (size_t i = 0; i < n_attributes; i++) {
        if (!sw_h5_put_attribute(set, &attribute[i])) return false;
    }
    return true;
}

static sw_status write_image(const int64_t *xy, int64_t n, const sw_h5_attribute *attribute, size_t n_attributes, sw_buf *out,
                             sw_error *err)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    int64_t file = -1;
    SW_TRY(sw_h5_image_begin(&h, 0, &file, err));
    if (!write_dataset(file, xy, n, attribute, n_attributes)) return sw_h5_defect("put the coordinates together", err);
    return sw_h5_image_end(file, out, err);
}

sw_status sw_h5_coords_write(const int64_t *xy, int64_t n, const sw_h5_attribute *attribute, size_t n_attributes, sw_buf *out,
                             sw_error *err)
{
    SW_CLEANUP(sw_h5_unhush) sw_h5_quiet q = sw_h5_hush();
    (void)q;
    return write_image(xy, n, attribute, n_attributes, out, err);
}

/* ---- reading */

static sw_status cut_coords(const char *path, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: its dataset \"coords\" is damaged; make the file again", path);
}

/* Shape [n, 2]; nothing at all has the shape [0] in Python's tools. */
static sw_status shape_of(hid_t dataset, const char *path, int64_t *n, sw_error *err)
{
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hsize_t size[2] = {0, 0};
    hid_t space = sw_h5_keep(&h, H5Dget_space(dataset), H5Sclose);
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
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t type = sw_h5_keep(&h, H5Dget_type(dataset), H5Tclose);
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
    SW_CLEANUP(sw_h5_handles_close) sw_h5_handles h = {0};
    hid_t how = sw_h5_keep(&h, H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (how < 0 || H5Pset_fapl_core(how, IMAGE_STEP, false) < 0) return sw_h5_defect("set up a file in memory", err);
    if (bytes->size == 0 || H5Pset_file_image(how, bytes->data, bytes->size) < 0) return sw_h5_damaged(path, made_by, err);
    hid_t file = sw_h5_keep(&h, H5Fopen("coords.h5", H5F_ACC_RDONLY, how), H5Fclose);
    if (file < 0) return sw_h5_damaged(path, made_by, err);
    hid_t set = H5Lexists(file, "coords", H5P_DEFAULT) > 0 ? sw_h5_keep(&h, H5Dopen2(file, "coords", H5P_DEFAULT), H5Dclose) : -1;
    if (set < 0) {
        return sw_error_set(err, SW_E_FORMAT,
                            "%s: no dataset \"coords\" in it; give a file of coordinates, such as CLAM's patches/SLIDE.h5 or TRIDENT's "
                            "patches/SLIDE_patches.h5",
                            path);
    }
    SW_TRY(read_dataset(set, path, xy, n, err));
    for (size_t i = 0; i < n_wanted; i++) SW_TRY(sw_h5_get_attribute(set, &wanted[i], err));
    return SW_OK;
}

/* ---- in a process of its own */

typedef struct reading {
    const char *path;
    sw_buf bytes;
    sw_h5_wanted *wanted;
    size_t n_wanted;
    int64_t *xy;
    int64_t n;
} reading;

static sw_status read_in_child(void *ctx, sw_error *err)
{
    reading *r = ctx;
    return read_image(r->path, &r->bytes, &r->xy, &r->n, r->wanted, r->n_wanted, err);
}

static bool send_table(void *ctx, int to)
{
    const reading *r = ctx;
    return sw_h5_send_wanted(to, r->wanted, r->n_wanted) && sw_h5_send(to, &r->n, sizeof r->n) &&
           sw_h5_send(to, r->xy, (size_t)r->n * 2 * sizeof *r->xy);
}

static sw_status take(void *ctx, int from, bool *whole, sw_error *err)
{
    reading *r = ctx;
    SW_TRY(sw_h5_receive_wanted(from, r->wanted, r->n_wanted, whole, err));
    *whole = *whole && sw_h5_receive(from, &r->n, sizeof r->n) && r->n >= 0 && r->n <= MOST_PATCHES;
    if (!*whole) return SW_OK;
    r->xy = sw_calloc((size_t)r->n * 2 + 1, sizeof *r->xy);
    if (!r->xy) return sw_nomem(err);
    *whole = sw_h5_receive(from, r->xy, (size_t)r->n * 2 * sizeof *r->xy);
    return SW_OK;
}

/* ---- in a process for many files */

static bool ask_reader(void *ctx, int to)
{
    const reading *r = ctx;
    if (!sw_h5_send_text(to, r->path) || !sw_h5_send(to, r->bytes.data, r->bytes.size) || !sw_h5_send(to, &r->n_wanted, sizeof r->n_wanted)) return false;
    for (size_t i = 0; i < r->n_wanted; i++) {
        if (!sw_h5_send_text(to, r->wanted[i].name) || !sw_h5_send(to, &r->wanted[i].is_text, sizeof r->wanted[i].is_text)) return false;
    }
    return true;
}

static void forget(void *ctx)
{
    reading *r = ctx;
    sw_free(SW_STEAL(r->xy));
    for (size_t i = 0; i < r->n_wanted; i++) {
        sw_free(SW_STEAL(r->wanted[i].text));
        r->wanted[i].count = 0;
    }
}

/* What is asked, in the process that answers; its texts are owned. */
typedef struct question {
    char *path, *bytes;
    size_t n_wanted;
    sw_h5_wanted wanted[MOST_WANTED];
    reading r;
} question;

static void question_free(question *q)
{
    for (size_t i = 0; i < MOST_WANTED; i++) {
        sw_free((char *)q->wanted[i].name);
        sw_free(q->wanted[i].text);
    }
    sw_free(q->path);
    sw_free(q->bytes);
    sw_free(q->r.xy);
}

static bool receive_question(int end, size_t bytes, question *q)
{
    sw_error err;
    bool whole = false;
    if (sw_h5_receive_text(end, &q->path, &whole, &err) != SW_OK || !whole) return false;
    q->bytes = sw_malloc(bytes + 1);
    if (!q->bytes || !sw_h5_receive(end, q->bytes, bytes) || !sw_h5_receive(end, &q->n_wanted, sizeof q->n_wanted)) return false;
    if (q->n_wanted > MOST_WANTED) return false;
    for (size_t i = 0; i < q->n_wanted; i++) {
        char *name = NULL;
        whole = false;
        sw_status status = sw_h5_receive_text(end, &name, &whole, &err);
        q->wanted[i].name = name;
        if (status != SW_OK || !whole || !sw_h5_receive(end, &q->wanted[i].is_text, sizeof q->wanted[i].is_text)) return false;
    }
    return true;
}

static bool serve(int end, size_t bytes)
{
    SW_CLEANUP(question_free) question q = {0};
    sw_error err = {0};
    if (!receive_question(end, bytes, &q)) return false;
    q.r = (reading){.path = q.path, .bytes = {.data = q.bytes, .size = bytes}, .wanted = q.wanted, .n_wanted = q.n_wanted};
    sw_status status = read_in_child(&q.r, &err);
    return sw_h5_answer(end, status, &err) && status == SW_OK && send_table(&q.r, end);
}

sw_status sw_h5_coords_reader_new(sw_h5_reader **out, sw_error *err)
{
    return sw_h5_reader_new(serve, out, err);
}

static void reading_free(reading *r)
{
    sw_buf_free(&r->bytes);
    sw_free(r->xy);
}

/* The file is read whole by us, not by HDF5: our own reads tell what is wrong with a disk, and HDF5's file locks, which fail on some
 * network file systems, are never asked. */
sw_status sw_h5_coords_read(sw_h5_reader *reader, const char *path, int64_t **xy, int64_t *n, sw_h5_wanted *wanted, size_t n_wanted,
                            sw_error *err)
{
    SW_CLEANUP(reading_free) reading r = {.path = path, .wanted = wanted, .n_wanted = n_wanted};
    SW_TRY(sw_file_read(path, &r.bytes, err));
    const sw_h5_reading how = {.path = path, .bytes = r.bytes.size, .read = read_in_child, .send = send_table, .take = take, .ctx = &r};
    const sw_h5_asking asking = {.path = path, .bytes = r.bytes.size, .send = ask_reader, .take = take, .forget = forget, .ctx = &r};
    SW_TRY(reader && n_wanted <= MOST_WANTED ? sw_h5_reader_ask(reader, &asking, err) : sw_h5_read_apart(&how, err));
    *n = r.n;
    *xy = SW_STEAL(r.xy);
    return SW_OK;
}
