/* SPDX-License-Identifier: Apache-2.0 */
/* Long lists of slides: every one is found, none twice, in the order of folder and table. */
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/slide.h"
#include "test.h"

enum { N = 2000 };

static void slide_id(int i, char *out, size_t size)
{
    snprintf(out, size, "slide.%05d", i * 1237 % N);
}

static char *make_folder(const char *name, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    char *folder = sw_path_join(sw_test_dir(), name);
    SW_AUTOFREE char *table = sw_path_join(folder, "table.csv");
    if (sw_mkdir_p(folder, err) != SW_OK) return folder;
    sw_buf_puts(&csv, "slide_id,mpp\n");
    for (int i = 0; i < N; i++) {
        char id[32];
        slide_id(i, id, sizeof id);
        SW_AUTOFREE char *path = sw_asprintf("%s/%s.svs", folder, id);
        if (sw_file_write(path, "", 0, err) != SW_OK) return folder;
        sw_buf_printf(&csv, "%s,%d.5\n", id, i + 1);
    }
    if (sw_file_write(table, csv.data, csv.size, err) != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err->message);
    return folder;
}

static void check_all(const sw_slide_list *list, bool has_mpp)
{
    CHECK_INT(list->count, N);
    for (int i = 0; i < N; i++) {
        char id[32];
        slide_id(i, id, sizeof id);
        const sw_slide_entry *entry = sw_slide_list_find(list, id);
        CHECK(entry != NULL);
        CHECK_STR(entry->slide_id, id);
        CHECK(entry->mpp_um == (has_mpp ? i + 1.5 : 0));
    }
    CHECK(sw_slide_list_find(list, "slide.") == NULL && sw_slide_list_find(list, "") == NULL);
}

TEST(a_folder)
{
    sw_error err = {0};
    SW_AUTOFREE char *folder = make_folder("folder", &err);
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    const char *const twice[] = {folder, folder};
    CHECK_OK(sw_slide_list_expand(twice, 2, &list, &err));
    check_all(&list, false);
    CHECK_STR(list.entry[0].slide_id, "slide.00000");
    CHECK_STR(list.entry[N - 1].slide_id, "slide.01999");
}

TEST(a_table_of_ids_beside_the_slides)
{
    sw_error err = {0};
    SW_AUTOFREE char *folder = make_folder("table", &err);
    SW_AUTOFREE char *table = sw_path_join(folder, "table.csv");
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    const char *const operand[] = {table};
    CHECK_OK(sw_slide_list_expand(operand, 1, &list, &err));
    check_all(&list, true);
    CHECK_STR(list.entry[1].slide_id, "slide.01237"); /* in the table's order */
}

/* Of two files with the id that a row names, the first by name is meant. */
TEST(two_files_of_one_id_beside_a_table)
{
    sw_error err = {0};
    SW_AUTOFREE char *folder = sw_path_join(sw_test_dir(), "two");
    SW_AUTOFREE char *tif = sw_path_join(folder, "a.tif"), *svs = sw_path_join(folder, "a.svs"), *other = sw_path_join(folder, "a-1.svs");
    SW_AUTOFREE char *table = sw_path_join(folder, "t.csv");
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    CHECK_OK(sw_mkdir_p(folder, &err));
    CHECK_OK(sw_file_write(tif, "", 0, &err));
    CHECK_OK(sw_file_write(svs, "", 0, &err));
    CHECK_OK(sw_file_write(other, "", 0, &err));
    CHECK_OK(sw_file_write(table, "slide_id\na\n", 11, &err));
    const char *const operand[] = {table};
    CHECK_OK(sw_slide_list_expand(operand, 1, &list, &err));
    CHECK_INT(list.count, 1);
    CHECK_STR(list.entry[0].path, svs);
}
