/* SPDX-License-Identifier: Apache-2.0 */
/* A sweep's file becomes a list of runs: each a configuration, its overrides and its folder. */
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/yaml.h"
#include "config/config.h"
#include "slidewise/sweep.h"

enum { MOST_RUNS = 10000 };

static void run_clear(sw_sweep_run *run)
{
    for (size_t i = 0; i < run->n_sets; i++) sw_free(run->set[i]);
    sw_free(run->set);
    sw_free(run->name);
    sw_free(run->config);
    sw_free(run->dir);
    *run = (sw_sweep_run){0};
}

void sw_sweep_free(sw_sweep *sweep)
{
    if (!sweep) return;
    for (size_t i = 0; i < sweep->count; i++) run_clear(&sweep->run[i]);
    sw_free(sweep->run);
    sw_free(sweep->path);
    sw_free(sweep->out);
    sw_free(sweep->baseline);
    *sweep = (sw_sweep){0};
}

/* ---- values as they stand in an override */

static void put_flow(const sw_yaml *value, sw_buf *out)
{
    if (value->kind == SW_YAML_SCALAR && !value->quoted) {
        sw_buf_puts(out, value->text);
    } else if (value->kind == SW_YAML_SCALAR) {
        sw_json_writer w;
        sw_json_begin(&w, out, 0);
        sw_json_string(&w, value->text); /* a JSON string is a YAML string */
    } else {
        bool map = value->kind == SW_YAML_MAP;
        sw_buf_puts(out, map ? "{" : "[");
        for (size_t i = 0; i < value->count; i++) {
            if (i) sw_buf_puts(out, ", ");
            if (map) sw_buf_printf(out, "%s: ", value->key[i]);
            put_flow(value->item[i], out);
        }
        sw_buf_puts(out, map ? "}" : "]");
    }
}

static sw_status add_text(sw_sweep_run *run, char *text, sw_error *err)
{
    char **grown = text ? sw_realloc_array(run->set, run->n_sets + 1, sizeof *grown) : NULL;
    if (!grown) {
        sw_free(text);
        return sw_nomem(err);
    }
    run->set = grown;
    run->set[run->n_sets++] = text;
    return SW_OK;
}

static sw_status add_set(sw_sweep_run *run, const char *key, const sw_yaml *value, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_buf_printf(&text, "%s=", key);
    put_flow(value, &text);
    SW_TRY(sw_buf_status(&text, err));
    return add_text(run, sw_strdup(text.data), err);
}

static sw_status add_sets(sw_sweep_run *run, const sw_yaml *map, sw_error *err)
{
    for (size_t i = 0; map && i < map->count; i++) SW_TRY(add_set(run, map->key[i], map->item[i], err));
    return SW_OK;
}

/* ---- reading */

typedef struct reader {
    const char *path;
    const sw_yaml *root, *base, *common, *runs, *grid;
    sw_sweep *sweep;
    size_t capacity;
    size_t point[32]; /* of the grid: which value of each key */
} reader;

static sw_status complain(const reader *r, int line, sw_error *err, const char *what)
{
    return sw_error_set(err, SW_E_INVALID, "%s:%d: %s", r->path, line, what);
}

static sw_status need_kind(const reader *r, const sw_yaml *value, sw_yaml_kind kind, const char *what, sw_error *err)
{
    return !value || value->kind == kind ? SW_OK : complain(r, value->line, err, what);
}

/* Relative to the sweep's file. */
static char *beside(const reader *r, const char *name)
{
    const char *slash = strrchr(r->path, '/');
    if (name[0] == '/' || !slash) return sw_strdup(name);
    return sw_asprintf("%.*s/%s", (int)(slash - r->path), r->path, name);
}

/* Letters that a folder's name can have everywhere. */
static void put_name(sw_buf *out, const char *text)
{
    for (; *text; text++) {
        bool plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') || (*text >= '0' && *text <= '9') ||
                     strchr("._-=+", *text);
        sw_buf_append(out, plain ? text : "_", 1);
    }
}

/* "name-lr=0.0001-seed=2"; values that are lists are numbered. */
static sw_status name_run(const reader *r, const char *own, char **out, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf name = {0};
    put_name(&name, own);
    for (size_t k = 0; r->grid && k < r->grid->count; k++) {
        const sw_yaml *value = r->grid->item[k]->item[r->point[k]];
        const char *key = r->grid->key[k], *leaf = strrchr(key, '.');
        if (name.size > 0) sw_buf_puts(&name, "-");
        put_name(&name, leaf ? leaf + 1 : key);
        sw_buf_puts(&name, "=");
        if (value->kind == SW_YAML_SCALAR) put_name(&name, value->text);
        else sw_buf_printf(&name, "%zu", r->point[k] + 1);
    }
    SW_TRY(sw_buf_status(&name, err));
    *out = sw_strdup(name.data && name.size ? name.data : "run");
    return *out ? SW_OK : sw_nomem(err);
}

static sw_status check_run(const reader *r, const sw_sweep_run *run, int line, sw_error *err)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    sw_error why = {0};
    for (size_t i = 0; i + 1 < r->sweep->count; i++) {
        if (strcmp(r->sweep->run[i].name, run->name) == 0)
            return sw_error_set(err, SW_E_INVALID, "%s:%d: two runs are called '%s'", r->path, line, run->name);
    }
    if (sw_config_load(run->config, (const char *const *)run->set, run->n_sets, &c, &why) == SW_OK) return SW_OK;
    return sw_error_set(err, why.code, "%s:%d: run '%s': %s", r->path, line, run->name, why.message);
}

/* One run at one point of the grid. `own` NULL: the base alone. */
static sw_status add_run(reader *r, const sw_yaml *own, const char *const *sets, size_t n_sets, sw_error *err)
{
    sw_sweep *s = r->sweep;
    int line = own ? own->line : r->root->line;
    const sw_yaml *name = own ? sw_yaml_get(own, "name") : NULL, *config = own ? sw_yaml_get(own, "config") : NULL;
    if (!config) config = r->base;
    if (!config) return complain(r, line, err, "the run has no config, and the sweep no base; name the configuration");
    if (s->count == MOST_RUNS) return complain(r, line, err, "more than 10000 runs");
    SW_TRY(sw_grow(&s->run, &r->capacity, s->count + 1, sizeof *s->run, err));
    sw_sweep_run *run = &s->run[s->count++];
    *run = (sw_sweep_run){.config = beside(r, config->text)};
    if (!run->config) return sw_nomem(err);
    SW_TRY(name_run(r, name ? name->text : "", &run->name, err));
    SW_TRY(add_sets(run, r->common, err));
    SW_TRY(add_sets(run, own ? sw_yaml_get(own, "set") : NULL, err));
    for (size_t k = 0; r->grid && k < r->grid->count; k++)
        SW_TRY(add_set(run, r->grid->key[k], r->grid->item[k]->item[r->point[k]], err));
    for (size_t i = 0; i < n_sets; i++) SW_TRY(add_text(run, sw_strdup(sets[i]), err));
    if (!(run->dir = sw_path_join(s->out, run->name))) return sw_nomem(err);
    SW_TRY(add_text(run, sw_asprintf("run.out=%s", run->dir), err));
    return check_run(r, run, line, err);
}

/* The next point of the grid, the last key moving fastest; false after the last one. */
static bool next_point(reader *r)
{
    for (size_t k = r->grid ? r->grid->count : 0; k-- > 0;) {
        if (++r->point[k] < r->grid->item[k]->count) return true;
        r->point[k] = 0;
    }
    return false;
}

static sw_status check_keys(const reader *r, const sw_yaml *map, const char *const *known, size_t n, sw_error *err)
{
    for (size_t i = 0; i < map->count; i++) {
        bool found = false;
        for (size_t k = 0; k < n; k++) found = found || strcmp(map->key[i], known[k]) == 0;
        if (found) continue;
        const char *near = sw_nearest_name(map->key[i], known, n);
        return sw_error_set(err, SW_E_INVALID, "%s:%d: unknown key '%s' of a sweep%s%s%s", r->path, map->key_line[i], map->key[i],
                            near ? "; the nearest is '" : "", near ? near : "", near ? "'" : "");
    }
    return SW_OK;
}

static sw_status check_runs(const reader *r, sw_error *err)
{
    static const char *const known[] = {"name", "config", "set"};
    for (size_t i = 0; r->runs && i < r->runs->count; i++) {
        const sw_yaml *own = r->runs->item[i];
        SW_TRY(need_kind(r, own, SW_YAML_MAP, "each of the runs is a group of keys: name, config, set", err));
        SW_TRY(check_keys(r, own, known, 3, err));
        SW_TRY(need_kind(r, sw_yaml_get(own, "name"), SW_YAML_SCALAR, "name must be a text", err));
        SW_TRY(need_kind(r, sw_yaml_get(own, "config"), SW_YAML_SCALAR, "config must be a path", err));
        SW_TRY(need_kind(r, sw_yaml_get(own, "set"), SW_YAML_MAP, "set must be a group of keys, such as {train.lr: 1e-4}", err));
        const sw_yaml *name = sw_yaml_get(own, "name");
        if (!name || name->text[0] == '\0') return complain(r, own->line, err, "the run has no name");
    }
    return SW_OK;
}

static sw_status check_grid(const reader *r, sw_error *err)
{
    if (r->grid && r->grid->count > sizeof r->point / sizeof r->point[0]) return complain(r, r->grid->line, err, "the grid has too many keys");
    for (size_t k = 0; r->grid && k < r->grid->count; k++) {
        SW_TRY(need_kind(r, r->grid->item[k], SW_YAML_LIST, "each key of the grid has a list of values", err));
        if (r->grid->item[k]->count == 0) return complain(r, r->grid->item[k]->line, err, "each key of the grid has a list of values");
    }
    return SW_OK;
}

static sw_status read_head(reader *r, const sw_yaml *root, sw_error *err)
{
    static const char *const known[] = {"base", "out", "baseline", "set", "runs", "grid"};
    if (root->kind != SW_YAML_MAP) return complain(r, root->line, err, "a sweep is a group of keys: base, out, baseline, set, runs, grid");
    SW_TRY(check_keys(r, root, known, 6, err));
    const sw_yaml *out = sw_yaml_get(root, "out"), *baseline = sw_yaml_get(root, "baseline");
    r->root = root;
    r->base = sw_yaml_get(root, "base");
    r->common = sw_yaml_get(root, "set");
    r->runs = sw_yaml_get(root, "runs");
    r->grid = sw_yaml_get(root, "grid");
    SW_TRY(need_kind(r, r->base, SW_YAML_SCALAR, "base must be a path", err));
    SW_TRY(need_kind(r, out, SW_YAML_SCALAR, "out must be a path", err));
    SW_TRY(need_kind(r, baseline, SW_YAML_SCALAR, "baseline must be the name of a run", err));
    SW_TRY(need_kind(r, r->common, SW_YAML_MAP, "set must be a group of keys, such as {train.lr: 1e-4}", err));
    SW_TRY(need_kind(r, r->runs, SW_YAML_LIST, "runs must be a list", err));
    SW_TRY(need_kind(r, r->grid, SW_YAML_MAP, "grid must be a group of keys, each with a list of values", err));
    if (!out || out->text[0] == '\0') return complain(r, root->line, err, "out is not set; name the folder of the runs");
    if (!r->runs && !r->grid) return complain(r, root->line, err, "the sweep has neither runs nor a grid");
    r->sweep->path = sw_strdup(r->path);
    r->sweep->out = sw_strdup(out->text);
    if (baseline) r->sweep->baseline = sw_strdup(baseline->text);
    return r->sweep->path && r->sweep->out && (!baseline || r->sweep->baseline) ? SW_OK : sw_nomem(err);
}

static sw_status check_baseline(const reader *r, sw_error *err)
{
    const sw_sweep *s = r->sweep;
    SW_CLEANUP(sw_buf_free) sw_buf list = {0};
    if (!s->baseline) return SW_OK;
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->run[i].name, s->baseline) == 0) return SW_OK;
        if (i < 8) sw_buf_printf(&list, "%s%s", i ? ", " : "", s->run[i].name);
    }
    SW_TRY(sw_buf_status(&list, err));
    return sw_error_set(err, SW_E_INVALID, "%s:%d: baseline: no run is called '%s' (there are %s%s)", r->path,
                        sw_yaml_get(r->root, "baseline")->line, s->baseline, list.data, s->count > 8 ? ", …" : "");
}

static sw_status read_all(reader *r, const char *const *sets, size_t n_sets, sw_error *err)
{
    SW_TRY(check_runs(r, err));
    SW_TRY(check_grid(r, err));
    size_t n = r->runs ? r->runs->count : 1;
    for (size_t i = 0; i < n; i++) {
        do SW_TRY(add_run(r, r->runs ? r->runs->item[i] : NULL, sets, n_sets, err));
        while (next_point(r));
    }
    return check_baseline(r, err);
}

sw_status sw_sweep_read(const char *path, const char *const *sets, size_t n_sets, sw_sweep *out, sw_error *err)
{
    SW_CLEANUP(sw_yaml_free_ptr) sw_yaml *root = NULL;
    SW_CLEANUP(sw_sweep_free) sw_sweep sweep = {0};
    SW_TRY(sw_yaml_read(path, &root, err));
    reader r = {.path = path, .sweep = &sweep};
    SW_TRY(read_head(&r, root, err));
    SW_TRY(read_all(&r, sets, n_sets, err));
    *out = sweep;
    sweep = (sw_sweep){0};
    return SW_OK;
}

sw_status sw_sweep_train(const sw_sweep *sweep, size_t index, const char *command, const sw_sink *sink, sw_train_result *result,
                         sw_error *err)
{
    const sw_sweep_run *run = &sweep->run[index];
    sw_train_options o = sw_train_options_default();
    o.config_path = run->config;
    o.sets = (const char *const *)run->set;
    o.n_sets = run->n_sets;
    o.resume = true;
    o.command = command;
    o.sink = sink;
    return sw_train(&o, result, err);
}
