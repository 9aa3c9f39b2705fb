/* SPDX-License-Identifier: Apache-2.0 */
/* Which slides the rows of a table name (data.match). By default the one of that id; by prefix or substring, where no slide
 * has the id itself, every slide whose id begins with the row's or contains it: as many bags, all of the row's case. A slide
 * that rows of different ids fit is refused, or left out and told. */
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "dataset/dataset_internal.h"

static int64_t slides_count(const sw_dataset_slides *s)
{
    return s->store ? sw_store_slide_count(s->store) : s->count;
}

static const char *slides_id(const sw_dataset_slides *s, int64_t index)
{
    return s->store ? sw_store_slide_id(s->store, index) : s->id[index];
}

static const char *where_of(const sw_dataset_slides *s)
{
    return s->store ? sw_store_path(s->store) : "the list of slides";
}

bool sw_is_slide_file(const char *name)
{
    static const char *const ext[] = {"svs", "tif", "tiff", "ndpi", "mrxs", "scn", "vms", "vmu", "bif", "svslide", "dcm",
                                      "qptiff", "czi", "isyntax", "png", "jpg", "jpeg"};
    for (size_t i = 0; i < sizeof(ext) / sizeof(ext[0]); i++) {
        if (sw_path_has_ext(name, ext[i])) return true;
    }
    return false;
}

/* ---- finding */

typedef struct claim {
    int64_t bag;   /* that named the slide first; -1: none */
    bool exact;    /* by its very id */
    bool disputed; /* so did a row of another id */
} claim;

typedef struct match {
    sw_dataset_build *build;
    const sw_dataset_slides *slides;
    sw_lookup known; /* ids of the slides, sorted */
    claim *claim;    /* [slides] */
    sw_lookup found; /* pairs: index is the slide, text the row's id; of bag i from first[i] on */
    size_t found_capacity;
    int64_t *first;  /* [n_bags + 1] */
    bool loose;      /* some row was not matched by its very id */
} match;

static void match_free(match *m)
{
    sw_lookup_free(&m->known);
    sw_lookup_free(&m->found);
    sw_free(m->claim);
    sw_free(m->first);
}

static sw_status add_found(match *m, int64_t slide, const char *text, sw_error *err)
{
    SW_TRY(sw_grow(&m->found.entry, &m->found_capacity, (size_t)m->found.count + 1, sizeof(*m->found.entry), err));
    m->found.entry[m->found.count++] = (sw_lookup_entry){text, slide};
    return SW_OK;
}

/* By the very id; a row that gives the file's name counts as its id. -1: no such slide. */
static sw_status find_exact(sw_bag *bag, const sw_lookup *known, int64_t *at, sw_error *err)
{
    *at = sw_lookup_find(known, bag->slide_id);
    if (*at >= 0 || !sw_is_slide_file(bag->slide_id)) return SW_OK;
    SW_AUTOFREE char *stem = sw_path_stem(bag->slide_id);
    if (!stem) return sw_nomem(err);
    *at = sw_lookup_find(known, stem);
    if (*at >= 0) {
        sw_free(bag->slide_id);
        bag->slide_id = SW_STEAL(stem);
    }
    return SW_OK;
}

static bool fits(sw_cfg_match how, const char *slide, const char *text)
{
    return how == SW_CFG_MATCH_PREFIX ? strncmp(slide, text, strlen(text)) == 0 : strstr(slide, text) != NULL;
}

static sw_status find_bag(match *m, sw_bag *bag, sw_error *err)
{
    sw_cfg_match how = m->build->config->data.match;
    int64_t at;
    SW_TRY(find_exact(bag, &m->known, &at, err));
    if (at >= 0) return add_found(m, m->known.entry[at].index, bag->slide_id, err);
    for (int64_t i = 0; how != SW_CFG_MATCH_EXACT && i < m->known.count; i++) {
        if (!fits(how, m->known.entry[i].text, bag->slide_id)) continue;
        SW_TRY(add_found(m, m->known.entry[i].index, bag->slide_id, err));
        m->loose = true;
    }
    return SW_OK;
}

/* A slide's own row wins over one that merely fits; two that fit have different ids and dispute it. */
static void stake(match *m, int64_t bag, int64_t slide)
{
    const sw_dataset *ds = m->build->ds;
    claim *c = &m->claim[slide];
    bool exact = strcmp(slides_id(m->slides, slide), ds->bag[bag].slide_id) == 0;
    if (c->bag < 0 || (exact && !c->exact)) {
        *c = (claim){.bag = bag, .exact = exact};
        return;
    }
    if (!c->exact && !exact && strcmp(ds->bag[c->bag].slide_id, ds->bag[bag].slide_id) != 0) c->disputed = true;
}

static bool holds(const match *m, int64_t bag, int64_t slide)
{
    const claim *c = &m->claim[slide];
    return !c->disputed && strcmp(m->build->ds->bag[c->bag].slide_id, m->build->ds->bag[bag].slide_id) == 0;
}

static sw_status find_all(match *m, sw_error *err)
{
    sw_dataset *ds = m->build->ds;
    int64_t n = slides_count(m->slides);
    SW_TRY(sw_lookup_new(n, &m->known, err));
    m->claim = sw_calloc((size_t)n + 1, sizeof(*m->claim));
    m->first = sw_calloc((size_t)ds->n_bags + 1, sizeof(*m->first));
    if (!m->claim || !m->first) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        m->known.entry[i] = (sw_lookup_entry){slides_id(m->slides, i), i};
        m->claim[i].bag = -1;
    }
    sw_lookup_sort(&m->known);
    for (int64_t i = 0; i < ds->n_bags; i++) {
        m->first[i] = m->found.count;
        SW_TRY(find_bag(m, &ds->bag[i], err));
        for (int64_t k = m->first[i]; k < m->found.count; k++) stake(m, i, m->found.entry[k].index);
    }
    m->first[ds->n_bags] = m->found.count;
    return SW_OK;
}

/* ---- telling */

/* "slide 'AB1' fits line 2 ('A') and line 3 ('AB')" */
static sw_status dispute(const match *m, int64_t slide, char **out, sw_error *err)
{
    const sw_dataset *ds = m->build->ds;
    const sw_bag *first = &ds->bag[m->claim[slide].bag], *second = first;
    for (int64_t i = 0; i < ds->n_bags && second == first; i++) {
        for (int64_t k = m->first[i]; k < m->first[i + 1]; k++) {
            if (m->found.entry[k].index == slide && strcmp(ds->bag[i].slide_id, first->slide_id) != 0) second = &ds->bag[i];
        }
    }
    *out = sw_asprintf("slide '%s' fits line %lld ('%s') and line %lld ('%s')", slides_id(m->slides, slide),
                       (long long)first->line, first->slide_id, (long long)second->line, second->slide_id);
    return *out ? SW_OK : sw_nomem(err);
}

static sw_status report_disputes(match *m, sw_error *err)
{
    sw_dataset_build *b = m->build;
    sw_dataset *ds = b->ds;
    int64_t n = slides_count(m->slides);
    ds->ambiguous = sw_calloc((size_t)n + 1, sizeof(*ds->ambiguous));
    if (!ds->ambiguous) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        if (!m->claim[i].disputed) continue;
        SW_TRY(dispute(m, i, &ds->ambiguous[ds->n_ambiguous], err));
        ds->n_ambiguous++;
    }
    if (ds->n_ambiguous == 0) return SW_OK;
    if (b->config->data.missing == SW_CFG_MISSING_ERROR) {
        return sw_error_set(err, SW_E_INVALID, "%s: %s; give longer ids, or set data.missing to skip to leave such slides out (%lld of them)",
                            b->table.path, ds->ambiguous[0], (long long)ds->n_ambiguous);
    }
    return sw_dataset_warn(b, err, "%s: %lld %s more than one row and %s left out; the first: %s", b->table.path,
                           (long long)ds->n_ambiguous, ds->n_ambiguous == 1 ? "slide fits" : "slides fit",
                           ds->n_ambiguous == 1 ? "is" : "are", ds->ambiguous[0]);
}

static sw_status none_matches(const match *m, sw_error *err)
{
    const sw_dataset_build *b = m->build;
    const char *where = where_of(m->slides), *text = b->ds->bag[0].slide_id, *like = NULL;
    if (slides_count(m->slides) == 0) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s holds no slide; run 'slidewise tile' first", where);
    }
    for (int64_t i = 0; i < m->known.count && !like && b->config->data.match == SW_CFG_MATCH_EXACT; i++) {
        const char *id = m->known.entry[i].text;
        if (fits(SW_CFG_MATCH_PREFIX, id, text) && !sw_is_slide_file(id)) like = id;
    }
    if (like) {
        return sw_error_set(err, SW_E_NOT_FOUND, "none of the %lld slides of %s is in %s: the table has '%s', the store '%s'; if rows name the beginning of a slide's id, set data.match to prefix",
                            (long long)b->ds->n_bags, b->table.path, where, text, like);
    }
    return sw_error_set(err, SW_E_NOT_FOUND, "none of the %lld slides of %s is in %s: the table has '%s', the store '%s'; a slide's id is its file name without the extension",
                        (long long)b->ds->n_bags, b->table.path, where, text, slides_id(m->slides, 0));
}

static sw_status report_missing(match *m, sw_error *err)
{
    sw_dataset_build *b = m->build;
    sw_dataset *ds = b->ds;
    ds->missing = sw_calloc((size_t)ds->n_bags + 1, sizeof(*ds->missing));
    if (!ds->missing) return sw_nomem(err);
    for (int64_t i = 0; i < ds->n_bags; i++) {
        if (m->first[i] < m->first[i + 1]) continue;
        if (!(ds->missing[ds->n_missing] = sw_strdup(ds->bag[i].slide_id))) return sw_nomem(err);
        ds->n_missing++;
    }
    if (ds->n_missing == 0) return SW_OK;
    if (ds->n_missing == ds->n_bags) return none_matches(m, err);
    SW_CLEANUP(sw_buf_free) sw_buf names = {0};
    sw_put_names(&names, ds->missing, ds->n_missing);
    SW_TRY(sw_buf_status(&names, err));
    const char *noun = ds->n_missing == 1 ? "slide" : "slides", *verb = ds->n_missing == 1 ? "is" : "are";
    if (b->config->data.missing == SW_CFG_MISSING_ERROR) {
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: %lld of %lld rows name a slide that is not in %s: %s; %s them, or set data.missing to skip",
                            b->table.path, (long long)ds->n_missing, (long long)ds->n_bags, where_of(m->slides), names.data,
                            m->slides->store && sw_store_feature_dim(m->slides->store) > 0 ? "encode" : "tile");
    }
    return sw_dataset_warn(b, err, "%s: %lld %s %s not in %s and left out: %s", b->table.path, (long long)ds->n_missing, noun,
                           verb, where_of(m->slides), names.data);
}

static sw_status report_unlabelled(match *m, sw_error *err)
{
    sw_dataset_build *b = m->build;
    sw_dataset *ds = b->ds;
    int64_t n = slides_count(m->slides);
    ds->unlabelled = sw_calloc((size_t)n + 1, sizeof(*ds->unlabelled));
    if (!ds->unlabelled) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        if (m->claim[i].bag >= 0) continue;
        if (!(ds->unlabelled[ds->n_unlabelled] = sw_strdup(slides_id(m->slides, i)))) return sw_nomem(err);
        ds->n_unlabelled++;
    }
    if (ds->n_unlabelled == 0) return SW_OK;
    SW_CLEANUP(sw_buf_free) sw_buf names = {0};
    sw_put_names(&names, ds->unlabelled, ds->n_unlabelled);
    SW_TRY(sw_buf_status(&names, err));
    return sw_dataset_warn(b, err, "%lld of %lld slides have no row in %s and are left out: %s", (long long)ds->n_unlabelled,
                           (long long)n, b->table.path, names.data);
}

/* ---- bags */

static char *copied(const char *text)
{
    return sw_strdup(text ? text : "");
}

/* The row and the bag of `from` for one slide of it. */
static sw_status copy_bag(const match *m, int64_t from, int64_t slide, sw_label_row *row, sw_bag *bag, sw_error *err)
{
    const sw_label_row *r = &m->build->table.row[from];
    const sw_bag *old = &m->build->ds->bag[from];
    *bag = *old;
    bag->store_slide = slide;
    bag->slide_id = copied(slides_id(m->slides, slide));
    bag->case_id = copied(old->case_id);
    *row = (sw_label_row){copied(r->slide_id), copied(r->case_id), copied(r->label), copied(r->split), copied(r->time),
                          copied(r->event), r->line};
    bool whole = bag->slide_id && bag->case_id && row->slide_id && row->case_id && row->label && row->split && row->time && row->event;
    return whole ? SW_OK : sw_nomem(err);
}

/* A bag for each slide that a row holds, in the rows' order; rows stay beside their bags. */
static sw_status make_bags(match *m, sw_error *err)
{
    sw_dataset_build *b = m->build;
    sw_dataset *ds = b->ds;
    sw_label_table rows = b->table; /* its texts move on */
    int64_t n_old = ds->n_bags, n = 0;
    SW_AUTOFREE sw_bag *bag = sw_calloc((size_t)m->found.count + 1, sizeof(*bag));
    rows.row = sw_calloc((size_t)m->found.count + 1, sizeof(*rows.row));
    if (!bag || !rows.row) {
        sw_free(rows.row);
        return sw_nomem(err);
    }
    sw_status status = SW_OK;
    for (int64_t i = 0; i < n_old && status == SW_OK; i++) {
        for (int64_t k = m->first[i]; k < m->first[i + 1] && status == SW_OK; k++) {
            int64_t slide = m->found.entry[k].index;
            if (!holds(m, i, slide)) continue;
            status = copy_bag(m, i, slide, &rows.row[n], &bag[n], err);
            n++;
        }
    }
    for (int64_t i = 0; i < n_old; i++) sw_bag_clear(&ds->bag[i]);
    sw_free(ds->bag);
    ds->bag = SW_STEAL(bag);
    ds->n_bags = n;
    rows.count = n;
    sw_label_rows_free(b->table.row, b->table.count);
    b->table = rows;
    return status;
}

sw_status sw_dataset_match(sw_dataset_build *b, const sw_dataset_slides *slides, sw_error *err)
{
    SW_CLEANUP(match_free) match m = {.build = b, .slides = slides};
    SW_TRY(find_all(&m, err));
    SW_TRY(report_missing(&m, err));
    SW_TRY(report_disputes(&m, err));
    SW_TRY(report_unlabelled(&m, err));
    if (m.loose) b->table.has_case = true; /* a row is a case of several slides */
    return make_bags(&m, err);
}
