/* SPDX-License-Identifier: Apache-2.0 */
/* CSV, JSON and YAML. */
#include "base/csv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/yaml.h"
#include "test.h"

static sw_status csv(const char *text, bool header, sw_csv **out, sw_error *err)
{
    return sw_csv_parse(text, strlen(text), "t.csv", header, out, err);
}

TEST(csv_reads_quotes_line_ends_and_the_mark)
{
    sw_error err = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *t = NULL;
    CHECK_OK(csv("\xEF\xBB\xBFslide_id,note\r\ns1,\"a, \"\"b\"\"\nc\"\r\n\r\ns2,\n\"\",x", true, &t, &err));
    CHECK_INT(sw_csv_rows(t), 3);
    CHECK_INT(sw_csv_columns(t), 2);
    CHECK_INT(sw_csv_find(t, "slide_id"), 0);
    CHECK_INT(sw_csv_find(t, "note"), 1);
    CHECK_INT(sw_csv_find(t, "Note"), -1);
    CHECK_STR(sw_csv_cell(t, 0, 1), "a, \"b\"\nc");
    CHECK_STR(sw_csv_cell(t, 1, 0), "s2");
    CHECK_STR(sw_csv_cell(t, 1, 1), "");
    CHECK_STR(sw_csv_cell(t, 2, 0), "");
    CHECK_STR(sw_csv_cell(t, 2, 1), "x");
    CHECK_INT(sw_csv_line(t, 0), 2);
    CHECK_INT(sw_csv_line(t, 1), 5);
    CHECK_INT(sw_csv_line(t, 2), 6);
    CHECK_STR(sw_csv_path(t), "t.csv");
}

TEST(csv_without_header_numbers_its_columns)
{
    sw_error err = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *t = NULL;
    CHECK_OK(csv("a,b\rc,d\r", false, &t, &err));
    CHECK_INT(sw_csv_rows(t), 2);
    CHECK_STR(sw_csv_column_name(t, 1), "1");
    CHECK_INT(sw_csv_find(t, "0"), 0);
    CHECK_STR(sw_csv_cell(t, 1, 1), "d");
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *empty = NULL;
    CHECK_OK(csv("", false, &empty, &err));
    CHECK_INT(sw_csv_rows(empty), 0);
}

TEST(csv_errors_name_the_line)
{
    sw_error err = {0};
    sw_csv *t = NULL;
    CHECK_INT(csv("a,b\n1,2\n3\n", true, &t, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.csv, line 3: 1 cells, but the header has 2");
    CHECK_INT(csv("a,b\n1,\"2\n3\n", true, &t, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.csv, line 2: a quoted cell is never closed");
    CHECK_INT(csv("a,b\n\"1\"x,2\n", true, &t, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.csv, line 2: text follows the closing quote of a cell");
    CHECK_INT(csv("", true, &t, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.csv is empty: its first line must name the columns");
    CHECK_INT(sw_csv_parse("a\0b", 3, "t.csv", true, &t, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.csv is not a text table: it contains a zero byte (a spreadsheet file? save it as CSV)");
    CHECK_INT(sw_csv_read("/nowhere.csv", true, &t, &err), SW_E_NOT_FOUND);
    CHECK_STR(err.message, "cannot open /nowhere.csv: No such file or directory; check the path");
    CHECK(!t);
}

TEST(csv_written_is_read_back)
{
    sw_error err = {0};
    const char *fields[] = {"plain", "", "a,b", "say \"hi\"", "two\nlines", "\r", "", ""};
    SW_CLEANUP(sw_buf_free) sw_buf out = {0};
    for (int i = 0; i < 8; i++) sw_csv_put(&out, fields[i], i % 2 == 1);
    sw_csv_put(&out, "", true); /* a row of one empty cell must not vanish, but it is uneven here */
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *t = NULL;
    CHECK_INT(sw_csv_parse(out.data, out.size, "t", false, &t, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t, line 6: 1 cells, but the first row has 2");
    CHECK_OK(sw_csv_parse(out.data, out.size - 3, "t", false, &t, &err));
    for (size_t i = 0; i < 8; i++) CHECK_STR(sw_csv_cell(t, i / 2, i % 2), fields[i]);
}

TEST(json_writer)
{
    SW_CLEANUP(sw_buf_free) sw_buf out = {0};
    sw_json_writer w;
    for (int indent = 0; indent <= 2; indent += 2) {
        sw_buf_clear(&out);
        sw_json_begin(&w, &out, indent);
        sw_json_object(&w);
        sw_json_key(&w, "a\"\\\n\x01");
        sw_json_array(&w);
        sw_json_int(&w, INT64_MIN);
        sw_json_number(&w, 0.1);
        sw_json_number(&w, NAN);
        sw_json_bool(&w, true);
        sw_json_null(&w);
        sw_json_string(&w, "bad \xFF\xC3 utf8 \xC3\xA9");
        sw_json_string(&w, NULL);
        sw_json_end_array(&w);
        sw_json_key(&w, "empty");
        sw_json_object(&w);
        sw_json_end_object(&w);
        sw_json_key(&w, "list");
        sw_json_array(&w);
        sw_json_end_array(&w);
        sw_json_end_object(&w);
        if (indent == 0) {
            CHECK_STR(out.data, "{\"a\\\"\\\\\\n\\u0001\":[-9223372036854775808,0.10000000000000001,null,true,null,"
                                "\"bad \\ufffd\\ufffd utf8 \xC3\xA9\",null],\"empty\":{},\"list\":[]}");
        }
    }
    CHECK_STR(out.data, "{\n  \"a\\\"\\\\\\n\\u0001\": [\n    -9223372036854775808,\n    0.10000000000000001,\n    null,\n"
                        "    true,\n    null,\n    \"bad \\ufffd\\ufffd utf8 \xC3\xA9\",\n    null\n  ],\n"
                        "  \"empty\": {},\n  \"list\": []\n}");
}

TEST(json_reader)
{
    sw_error err = {0};
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    const char *text = "{\"b\": 1, \"a\": [2.5, \"x\", true, null, 3.0, 7.5], \"c\": {}}";
    CHECK_OK(sw_json_parse(text, strlen(text), "t.json", &root, &err));
    CHECK(sw_json_is_object(root));
    CHECK_INT(sw_json_count(root), 3);
    const sw_json *value = NULL;
    CHECK_STR(sw_json_member(root, 0, &value), "b");
    CHECK_INT(sw_json_integer(value, -1), 1);
    CHECK_STR(sw_json_member(root, 2, &value), "c");
    CHECK(!sw_json_member(root, 3, &value));
    const sw_json *list = sw_json_get(root, "a");
    CHECK(sw_json_is_array(list));
    CHECK_INT(sw_json_count(list), 6);
    CHECK_NEAR(sw_json_real(sw_json_at(list, 0), 0), 2.5, 0, 0);
    CHECK_STR(sw_json_text(sw_json_at(list, 1), "no"), "x");
    CHECK(sw_json_truth(sw_json_at(list, 2), false));
    CHECK_INT(sw_json_integer(sw_json_at(list, 4), -1), 3);
    CHECK_INT(sw_json_integer(sw_json_at(list, 5), -1), -1);
    CHECK_STR(sw_json_text(sw_json_at(list, 0), "no"), "no");
    CHECK(!sw_json_at(list, 6));
    CHECK(!sw_json_get(root, "zzz"));
    CHECK_INT(sw_json_integer(NULL, 9), 9);
}

TEST(json_errors_name_the_line)
{
    sw_error err = {0};
    sw_json *root = NULL;
    CHECK_INT(sw_json_parse("{\n\"a\": }", 8, "t.json", &root, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.json, line 2, column 6: not valid JSON: unexpected token near '}'");
    CHECK_INT(sw_json_parse("{\"a\":1,\"a\":2}", 13, "t.json", &root, &err), SW_E_FORMAT);
    CHECK(strstr(err.message, "duplicate object key"));
    CHECK_INT(sw_json_parse("", 0, "t.json", &root, &err), SW_E_FORMAT);
    CHECK(!root);
}

static sw_status yaml(const char *text, sw_yaml **out, sw_error *err)
{
    return sw_yaml_parse(text, strlen(text), "t.yaml", out, err);
}

TEST(yaml_tree_keeps_lines)
{
    sw_error err = {0};
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *root = NULL;
    CHECK_OK(yaml("# a comment\ntask: &t\n  classes: [a, \"1\", 2]\n  empty:\nagain: *t\n", &root, &err));
    CHECK_INT(root->kind, SW_YAML_MAP);
    CHECK_INT(root->count, 2);
    const sw_yaml *task = sw_yaml_get(root, "task"), *classes = sw_yaml_get(task, "classes");
    CHECK_INT(root->key_line[0], 2);
    CHECK_INT(task->key_line[0], 3);
    CHECK_INT(classes->kind, SW_YAML_LIST);
    CHECK_INT(classes->count, 3);
    CHECK_INT(classes->line, 3);
    CHECK(classes->item[1]->quoted && !classes->item[2]->quoted);
    CHECK_STR(classes->item[1]->text, "1");
    CHECK_STR(sw_yaml_get(task, "empty")->text, "");
    const sw_yaml *again = sw_yaml_get(root, "again");
    CHECK_INT(again->line, 5);
    CHECK_STR(sw_yaml_get(again, "classes")->item[0]->text, "a");
    CHECK(!sw_yaml_get(root, "none"));
    CHECK(!sw_yaml_get(classes, "none"));
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *empty = NULL;
    CHECK_OK(yaml("# nothing\n", &empty, &err));
    CHECK_INT(empty->kind, SW_YAML_MAP);
    CHECK_INT(empty->count, 0);
}

TEST(yaml_long_lists)
{
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    for (int i = 0; i < 1000; i++) sw_buf_printf(&text, "k%d: %d\n", i, i);
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *root = NULL;
    CHECK_OK(yaml(text.data, &root, &err));
    CHECK_INT(root->count, 1000);
    CHECK_STR(sw_yaml_get(root, "k999")->text, "999");
    CHECK_INT(root->key_line[999], 1000);
}

TEST(yaml_errors_name_the_line)
{
    sw_error err = {0};
    sw_yaml *root = NULL;
    CHECK_INT(yaml("a: 1\nb: 2\na: 3\n", &root, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.yaml, line 3: the key \"a\" is already given at line 1");
    CHECK_INT(yaml("a: 1\n---\nb: 2\n", &root, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.yaml, line 2: a second document starts here; only one is allowed");
    CHECK_INT(yaml("a: *b\n", &root, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.yaml, line 1: *b names no anchor that is complete above it");
    CHECK_INT(yaml("a: &a [*a]\n", &root, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.yaml, line 1: *a names no anchor that is complete above it");
    CHECK_INT(yaml("? [a]\n: 1\n", &root, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.yaml, line 1: a key must be plain text");
    CHECK_INT(yaml("a: 1\n  b: 2\n", &root, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.yaml, line 2: not valid YAML: mapping values are not allowed in this context");
    CHECK_INT(yaml("a: [1,\nb: 2\n", &root, &err), SW_E_FORMAT);
    CHECK(strncmp(err.message, "t.yaml, line ", 13) == 0);
    CHECK(!root);
}

TEST(yaml_bombs_are_refused)
{
    sw_error err = {0};
    sw_yaml *root = NULL;
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_buf_puts(&text, "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 9; i++) {
        sw_buf_printf(&text, "l%d: &l%d [", i, i);
        for (int j = 0; j < 10; j++) sw_buf_printf(&text, "%s*l%d", j ? ", " : "", i - 1);
        sw_buf_puts(&text, "]\n");
    }
    CHECK_INT(yaml(text.data, &root, &err), SW_E_FORMAT);
    CHECK(strstr(err.message, "the file unfolds to more than 100000 values"));
    sw_buf_clear(&text);
    for (int i = 0; i < 100; i++) sw_buf_puts(&text, "[");
    for (int i = 0; i < 100; i++) sw_buf_puts(&text, "]");
    CHECK_INT(yaml(text.data, &root, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "t.yaml, line 1: nested deeper than 64 levels");
}

TEST(readers_survive_every_failing_allocation)
{
    sw_error err = {0};
    int64_t live = sw_mem_live();
    for (int kind = 0; kind < 2; kind++) {
        int failures = 0;
        for (int k = 1; k < 200; k++) {
            sw_csv *t = NULL;
            sw_yaml *root = NULL;
            sw_mem_fail_after(k);
            sw_status status = kind == 0 ? csv("a,b\n1,\"2\"\n", true, &t, &err)
                                         : yaml("a: &x {b: [1, 2], c: \"t\"}\nd: *x\n", &root, &err);
            sw_mem_fail_after(0);
            sw_csv_free(t);
            sw_yaml_free(root);
            CHECK_INT(sw_mem_live(), live);
            if (status == SW_OK) break;
            CHECK_INT(status, SW_E_NOMEM);
            failures++;
        }
        CHECK(failures > 4 && failures < 199);
    }
}
