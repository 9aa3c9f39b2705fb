/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"
#include "base/mem.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *in_dir(const char *name)
{
    return sw_path_join(sw_test_dir(), name);
}

TEST(paths)
{
    SW_AUTOFREE char *joined = sw_path_join("a/", "b"), *plain = sw_path_join("a", "b"), *root = sw_path_join("a", "/b");
    CHECK_STR(joined, "a/b");
    CHECK_STR(plain, "a/b");
    CHECK_STR(root, "/b");
    CHECK_STR(sw_path_name("/x/y.svs"), "y.svs");
    CHECK_STR(sw_path_name("y"), "y");
    SW_AUTOFREE char *stem = sw_path_stem("/x/TCGA.01.svs"), *bare = sw_path_stem("x/none"), *hidden = sw_path_stem(".svs");
    CHECK_STR(stem, "TCGA.01");
    CHECK_STR(bare, "none");
    CHECK_STR(hidden, ".svs");
    CHECK(sw_path_has_ext("a.SVS", "svs"));
    CHECK(!sw_path_has_ext("a.svs.txt", "svs"));
    CHECK(!sw_path_has_ext("svs", "svs"));
}

TEST(write_replaces_whole_files)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("whole.txt");
    CHECK_OK(sw_file_write(path, "first, longer", 13, &err));
    CHECK_INT(chmod(path, 0640), 0);
    CHECK_OK(sw_file_write(path, "second", 6, &err));
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    CHECK_OK(sw_file_read(path, &text, &err));
    CHECK_STR(text.data, "second");
    CHECK_INT(text.size, 6);
    struct stat info;
    CHECK_INT(stat(path, &info), 0);
    CHECK_INT(info.st_mode & 0777, 0640);
    int64_t bytes = 0;
    CHECK_OK(sw_file_size(path, &bytes, &err));
    CHECK_INT(bytes, 6);
    CHECK_OK(sw_file_remove(path, &err));
    CHECK_OK(sw_file_remove(path, &err));
    SW_CLEANUP(sw_names_free) sw_names left = {0};
    CHECK_OK(sw_dir_list(sw_test_dir(), false, &left, &err));
    for (size_t i = 0; i < left.count; i++) CHECK(!strstr(left.name[i], "whole.txt"));
}

TEST(empty_and_unsized_files_are_read)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("empty");
    CHECK_OK(sw_file_write(path, NULL, 0, &err));
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    CHECK_OK(sw_file_read(path, &text, &err));
    CHECK_INT(text.size, 0);
    CHECK_STR(text.data, "");
    CHECK_OK(sw_file_read("/proc/cpuinfo", &text, &err)); /* says its size is 0 */
    CHECK(text.size > 100);
}

TEST(messages_name_the_path_and_the_reason)
{
    sw_error err = {0};
    sw_buf text = {0};
    CHECK_INT(sw_file_read("/nowhere/x.csv", &text, &err), SW_E_NOT_FOUND);
    CHECK_STR(err.message, "cannot open /nowhere/x.csv: No such file or directory; check the path");
    CHECK_INT(sw_file_write("/nowhere/x.csv", "x", 1, &err), SW_E_NOT_FOUND);
    CHECK_STR(err.message, "cannot write /nowhere/x.csv: No such file or directory; check the path");
    CHECK_INT(sw_file_read("/proc", &text, &err), SW_E_IO);
    CHECK_STR(err.message, "cannot read /proc: Is a directory");
    sw_names names = {0};
    CHECK_INT(sw_dir_list("/nowhere", false, &names, &err), SW_E_NOT_FOUND);
    CHECK_STR(err.message, "cannot list the folder /nowhere: No such file or directory; check the path");
    sw_buf_free(&text);
}

TEST(reasons_become_codes)
{
    CHECK_INT(sw_status_of_errno(ENOSPC), SW_E_NOSPACE);
    CHECK_INT(sw_status_of_errno(EDQUOT), SW_E_NOSPACE);
    CHECK_INT(sw_status_of_errno(ENOENT), SW_E_NOT_FOUND);
    CHECK_INT(sw_status_of_errno(ENOMEM), SW_E_NOMEM);
    CHECK_INT(sw_status_of_errno(EACCES), SW_E_IO);
}

TEST(a_full_disk_says_so)
{
    sw_error err = {0};
    const char *small = getenv("SLIDEWISE_FULL_DIR"); /* the shell tests mount a small disk where they may */
    if (!small) SKIP("needs a small disk: run by tests/cli/test_house.sh");
    SW_AUTOFREE char *path = sw_path_join(small, "big"), *expected = NULL;
    SW_AUTOFREE char *bytes = sw_calloc(1, 8 << 20);
    CHECK_INT(sw_file_write(path, bytes, 8 << 20, &err), SW_E_NOSPACE);
    expected = sw_asprintf("cannot write %s: the disk that holds it is full; free some space or choose another place", path);
    CHECK_STR(err.message, expected);
    CHECK(!sw_path_exists(path));
}

TEST(folders)
{
    sw_error err = {0};
    SW_AUTOFREE char *deep = in_dir("a/b//c/"), *file = in_dir("a/file"), *below = in_dir("a/file/x");
    CHECK_OK(sw_mkdir_p(deep, &err));
    CHECK_OK(sw_mkdir_p(deep, &err));
    CHECK(sw_path_is_dir(deep));
    CHECK_OK(sw_file_write(file, "x", 1, &err));
    CHECK(sw_mkdir_p(file, &err) == SW_E_IO);
    SW_AUTOFREE char *expected = sw_asprintf("cannot create the folder %s: %s is a file, not a folder", file, file);
    CHECK_STR(err.message, expected);
    CHECK(sw_mkdir_p(below, &err) != SW_OK);
}

TEST(an_unwritable_folder_says_so)
{
    sw_error err = {0};
    SW_AUTOFREE char *dir = in_dir("locked"), *file = in_dir("locked/x"), *expected = NULL;
    CHECK_OK(sw_mkdir_p(dir, &err));
    CHECK_INT(chmod(dir, 0555), 0);
    /* Root may write everywhere: become nobody for the call. */
    bool root = geteuid() == 0;
    if (root) CHECK_INT(chmod(sw_test_dir(), 0755), 0);
    if (root && seteuid(65534) != 0) SKIP("root here cannot become another user");
    sw_status status = sw_file_write(file, "x", 1, &err);
    if (root) CHECK_INT(seteuid(0), 0);
    chmod(dir, 0755);
    expected = sw_asprintf("cannot write %s: Permission denied; change its permissions or choose another place", file);
    CHECK_INT(status, SW_E_IO);
    CHECK_STR(err.message, expected);
}

TEST(a_probe_tells_early_what_a_write_would_tell)
{
    sw_error err = {0};
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    SW_AUTOFREE char *dir = in_dir("probe"), *file = in_dir("probe/x"), *below = in_dir("probe/x/y"), *expected = NULL;
    CHECK_OK(sw_mkdir_p(dir, &err));
    CHECK_OK(sw_file_probe(file, &err));
    CHECK_OK(sw_file_write(file, "x", 1, &err));
    CHECK_OK(sw_file_probe(file, &err));
    CHECK_INT(sw_file_probe(below, &err), SW_E_IO);
    expected = sw_asprintf("cannot write %s: Not a directory; a part of the path is a file", below);
    CHECK_STR(err.message, expected);
    CHECK_INT(sw_file_probe(dir, &err), SW_E_IO);
    CHECK_OK(sw_dir_list(dir, true, &names, &err));
    CHECK_INT(names.count, 1); /* it leaves nothing */
}

TEST(leftovers_of_a_killed_write_are_removed)
{
    sw_error err = {0};
    SW_CLEANUP(sw_names_free) sw_names names = {0};
    SW_AUTOFREE char *dir = in_dir("killed"), *a = in_dir("killed/last.bin.tmp-aB3dE6"), *b = in_dir("killed/last.bin"),
                     *c = in_dir("killed/notes.tmp-a"), *d = in_dir("killed/.tmp-aB3dE6");
    CHECK_OK(sw_mkdir_p(dir, &err));
    CHECK_OK(sw_file_write(a, "x", 1, &err));
    CHECK_OK(sw_file_write(b, "x", 1, &err));
    CHECK_OK(sw_file_write(c, "x", 1, &err));
    CHECK_OK(sw_file_write(d, "x", 1, &err));
    CHECK_OK(sw_dir_remove_leftovers(dir, &err));
    CHECK_OK(sw_dir_list(dir, false, &names, &err));
    CHECK_INT(names.count, 3);
    CHECK_STR(names.name[0], ".tmp-aB3dE6");
    CHECK_STR(names.name[1], "last.bin");
    CHECK_STR(names.name[2], "notes.tmp-a");
}

TEST(listing_is_sorted)
{
    sw_error err = {0};
    const char *names[] = {"b", "a", "Z", "\xC3\xA9"};
    for (int i = 0; i < 4; i++) {
        SW_AUTOFREE char *name = sw_path_join("list", names[i]), *path = in_dir(name), *dir = in_dir("list/dir");
        CHECK_OK(sw_mkdir_p(dir, &err));
        CHECK_OK(sw_file_write(path, "", 0, &err));
    }
    SW_AUTOFREE char *dir = in_dir("list"), *dangling = in_dir("list/dangling");
    CHECK_INT(symlink("nothing", dangling), 0);
    SW_CLEANUP(sw_names_free) sw_names files = {0};
    CHECK_OK(sw_dir_list(dir, false, &files, &err));
    CHECK_INT(files.count, 4);
    CHECK_STR(files.name[0], "Z");
    CHECK_STR(files.name[1], "a");
    CHECK_STR(files.name[3], "\xC3\xA9");
    CHECK_OK(sw_dir_list(dir, true, &files, &err));
    CHECK_INT(files.count, 5);
}

TEST(checksums)
{
    CHECK_INT(sw_crc32c(0, "123456789", 9), 0xE3069283u); /* RFC 3720, B.4 uses the same polynomial */
    CHECK_INT(sw_crc32c(sw_crc32c(0, "1234", 4), "56789", 5), 0xE3069283u);
    char zeros[32] = {0};
    CHECK_INT(sw_crc32c(0, zeros, 32), 0x8A9136AAu);
    uint8_t rising[41]; /* the first 32: RFC 3720, B.4 again; and the same from every offset and split, byte by byte */
    for (int i = 0; i < 41; i++) rising[i] = (uint8_t)i;
    CHECK_INT(sw_crc32c(0, rising, 32), 0x46DD794Eu);
    for (int from = 0; from < 9; from++) {
        uint32_t crc = 0;
        for (int i = from; i < 41; i++) {
            CHECK_INT(sw_crc32c(0, rising + from, (size_t)(i - from)), crc);
            crc = sw_crc32c(crc, rising + i, 1);
        }
    }
    CHECK(sw_hash64("", 0) == 0xCBF29CE484222325u);
    CHECK(sw_hash64("a", 1) == 0xAF63DC4C8601EC8Cu);
    CHECK(sw_hash64("foobar", 6) == 0x85944171F73967E8u);
}

TEST(writing_survives_every_failing_allocation)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = in_dir("alloc");
    int64_t live = sw_mem_live();
    int failures = 0;
    for (int k = 1; k < 20; k++) {
        sw_mem_fail_after(k);
        sw_status status = sw_file_write(path, "x", 1, &err);
        sw_mem_fail_after(0);
        CHECK_INT(sw_mem_live(), live);
        if (status == SW_OK) break;
        CHECK_INT(status, SW_E_NOMEM);
        failures++;
    }
    CHECK_INT(failures, 2);
}
