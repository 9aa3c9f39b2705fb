/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out while features are written, found and read. */
#include "alloc.h"

#include "store/hdf5_features.h"

enum { N = 6, DIM = 4 };

static char dir[300];

static sw_status write_all(void *ctx)
{
    float value[N * DIM];
    int64_t xy[2 * N] = {0};
    const sw_h5_attribute a = {.name = "patch_size", .type = SW_H5_INT, .value = {256}};
    (void)ctx;
    for (int i = 0; i < N * DIM; i++) value[i] = (float)i;
    for (int s = 0; s < 2; s++) {
        SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
        SW_AUTOFREE char *path = sw_asprintf("%s/s%d.h5", dir, s);
        if (!path) return sw_nomem(&err);
        const sw_h5_features_file file = {.n = N, .dim = DIM, .features = value, .xy = xy, .of_coords = &a, .n_of_coords = 1};
        SW_TRY(sw_h5_features_write(&file, &bytes, &err));
        SW_TRY(sw_file_write(path, bytes.data, bytes.size, &err));
    }
    return SW_OK;
}

static sw_status read_all(void *ctx)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_CLEANUP(sw_h5_attributes_free) sw_h5_attributes attributes = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/s0.h5", dir);
    sw_store_features_options o = sw_store_features_options_default();
    const int64_t index[2] = {5, 0};
    int64_t xy[2 * N];
    float value[2 * DIM];
    (void)ctx;
    if (!path) return sw_nomem(&err);
    o.path = dir;
    o.threads = 1;
    SW_TRY(sw_store_open_features(&o, &store, &err));
    SW_TRY(sw_store_coords(store, 1, 0, xy, &err));
    SW_TRY(sw_store_features(store, 1, index, 2, value, &err));
    SW_TRY(sw_h5_coords_attributes(path, &attributes, &err));
    return value[0] == 5 * DIM && attributes.count == 1 ? SW_OK : sw_error_set(&err, SW_E_INTERNAL, "something else was read");
}

TEST(writing_and_reading_features)
{
    alloc_loop writing = {.what = "writing", .call = write_all, .from = 1, .stride = 1};
    alloc_loop reading = {.what = "reading", .call = read_all, .from = 1, .stride = 1};
    snprintf(dir, sizeof dir, "%s/features", sw_test_dir());
    CHECK_OK(sw_mkdir_p(dir, &err));
    CHECK(survive(&writing));
    CHECK(survive(&reading));
    printf("# %lld and %lld allocations\n", (long long)writing.most, (long long)reading.most);
    CHECK(writing.most > 5 && reading.most > 20);
}
