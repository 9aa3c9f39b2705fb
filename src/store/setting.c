/* SPDX-License-Identifier: Apache-2.0 */
/* What a store was made with: names and values. */
#include <string.h>

#include "base/mem.h"
#include "store/record.h"

void sw_setting_list_free(sw_setting_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        sw_free(list->name[i]);
        sw_free(list->value[i]);
    }
    sw_free(list->name);
    sw_free(list->value);
    *list = (sw_setting_list){0};
}

const char *sw_setting_list_find(const sw_setting_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->name[i], name) == 0) return list->value[i];
    }
    return NULL;
}

sw_status sw_setting_list_of(const sw_store_setting_pair *pairs, size_t n, sw_setting_list *out, sw_error *err)
{
    SW_CLEANUP(sw_setting_list_free) sw_setting_list list = {0};
    list.name = sw_calloc(n + 1, sizeof *list.name);
    list.value = sw_calloc(n + 1, sizeof *list.value);
    if (!list.name || !list.value) return sw_nomem(err);
    while (list.count < n) {
        size_t i = list.count++;
        list.name[i] = sw_strdup(pairs[i].name);
        list.value[i] = sw_strdup(pairs[i].value);
        if (!list.name[i] || !list.value[i]) return sw_nomem(err);
    }
    *out = list;
    list = (sw_setting_list){0};
    return SW_OK;
}

sw_status sw_setting_list_from(const sw_json *json, sw_setting_list *out, sw_error *err)
{
    size_t n = sw_json_count(json);
    SW_AUTOFREE sw_store_setting_pair *pair = sw_calloc(n + 1, sizeof *pair);
    if (!pair) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) {
        const sw_json *value;
        pair[i].name = sw_json_member(json, i, &value);
        pair[i].value = sw_json_text(value, "");
    }
    return sw_setting_list_of(pair, n, out, err);
}

void sw_setting_list_json(const sw_setting_list *list, sw_json_writer *w)
{
    sw_json_object(w);
    for (size_t i = 0; i < list->count; i++) sw_json_put_string(w, list->name[i], list->value[i]);
    sw_json_end_object(w);
}

const char *sw_setting_list_differs(const sw_setting_list *a, const sw_setting_list *b, const char **value_a, const char **value_b)
{
    for (size_t i = 0; i < b->count; i++) {
        *value_a = sw_setting_list_find(a, b->name[i]);
        *value_b = b->value[i];
        if (!*value_a || strcmp(*value_a, *value_b) != 0) {
            if (!*value_a) *value_a = "(not set)";
            return b->name[i];
        }
    }
    for (size_t i = 0; i < a->count; i++) {
        *value_a = a->value[i];
        *value_b = "(not set)";
        if (!sw_setting_list_find(b, a->name[i])) return a->name[i];
    }
    return NULL;
}
