/* SPDX-License-Identifier: Apache-2.0 */
#include "slides.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "slidewise/predict.h"

sw_status cli_slide_list(const cli_args *args, size_t first, size_t count, sw_slide_list *list, sw_error *err)
{
    SW_AUTOFREE const char **operand = sw_calloc(count + 1, sizeof *operand);
    if (!operand) return sw_nomem(err);
    for (size_t i = 0; i < count; i++) operand[i] = cli_operand(args, first + i);
    SW_TRY(sw_slide_list_expand(operand, count, list, err));
    const char *mpp_csv = cli_text(args, "mpp-csv", NULL);
    return mpp_csv ? sw_slide_list_apply_mpp(list, mpp_csv, NULL, err) : SW_OK;
}

sw_status cli_check_features(const cli_args *args, const sw_predictor *p, bool needs, sw_error *err)
{
    const char *run = cli_operand(args, 0);
    bool takes = sw_predictor_feature_dim(p) > 0;
    if (!takes && cli_given(args, "features"))
        return sw_error_set(err, SW_E_INVALID, "%s: the run takes slides, not features; leave --features out", run);
    if (takes && needs && !cli_given(args, "features"))
        return sw_error_set(err, SW_E_INVALID, "%s: the run was trained on features; name the folder of those of the slides (--features DIR)", run);
    if (takes && cli_given(args, "coords"))
        return sw_error_set(err, SW_E_INVALID, "%s: the run was trained on features, which bring their positions; leave --coords out", run);
    return SW_OK;
}

/* Adds the values of a repeated option, 10 / value for magnifications. */
static sw_status add_scales(const cli_args *args, const char *name, bool magnification, sw_tile_settings *s, sw_error *err)
{
    for (size_t i = 0; i < cli_list_count(args, name); i++) {
        double value;
        const char *text = cli_list_item(args, name, i);
        if (!sw_parse_double(text, &value) || value <= 0.0)
            return sw_error_set(err, SW_E_INVALID, "--%s %s: give a number above 0", name, text);
        if (s->n_scales == SW_STORE_MAX_SCALES)
            return sw_error_set(err, SW_E_INVALID, "--%s %s: at most %d scales fit into a store", name, text, SW_STORE_MAX_SCALES);
        s->mpp_um[s->n_scales++] = magnification ? 10.0 / value : value;
    }
    return SW_OK;
}

static sw_status read_settings(const cli_args *args, sw_tile_settings *s, sw_error *err)
{
    *s = sw_tile_settings_default();
    double default_mpp = s->mpp_um[0];
    s->n_scales = 0;
    SW_TRY(add_scales(args, "mpp", false, s, err));
    SW_TRY(add_scales(args, "magnification", true, s, err));
    if (s->n_scales == 0) s->mpp_um[s->n_scales++] = default_mpp;
    s->patch_px = (int)cli_int(args, "patch-px", s->patch_px);
    s->overlap_px = (int)cli_int(args, "overlap", s->overlap_px);
    s->quality = (int)cli_int(args, "quality", s->quality);
    s->whole_image = cli_flag(args, "no-tissue");
    s->passthrough = cli_flag(args, "passthrough");
    s->exact = cli_flag(args, "exact");
    s->artefacts.max_pen_fraction = cli_real(args, "max-pen-fraction", s->artefacts.max_pen_fraction);
    s->artefacts.min_laplacian_variance = cli_real(args, "min-laplacian-variance", s->artefacts.min_laplacian_variance);
    s->artefacts.max_black_fraction = cli_real(args, "max-black-fraction", s->artefacts.max_black_fraction);
    s->artefacts.max_white_fraction = cli_real(args, "max-white-fraction", s->artefacts.max_white_fraction);
    const char *preset = cli_text(args, "preset", NULL);
    return preset ? sw_tissue_options_preset(preset, &s->tissue, err) : SW_OK;
}

sw_status cli_tile_options(const cli_args *args, sw_tile_options *o, sw_error *err)
{
    *o = sw_tile_options_default();
    o->slide_mpp_um = cli_real(args, "slide-mpp", 0.0);
    if (cli_given(args, "slide-mpp") && !(o->slide_mpp_um > 0.0))
        return sw_error_set(err, SW_E_INVALID, "--slide-mpp must be above 0");
    const char *reader = cli_text(args, "reader", "auto");
    o->openslide_only = strcmp(reader, "openslide") == 0;
    if (!o->openslide_only && strcmp(reader, "auto") != 0) return sw_error_set(err, SW_E_INVALID, "--reader %s: give auto or openslide", reader);
    o->threads = (int)cli_int(args, "threads", 0);
    o->masks = cli_flag(args, "masks");
    o->sink = cli_sink();
    return read_settings(args, &o->settings, err);
}

static int width_of_ids(const sw_tile_result *r)
{
    size_t width = strlen("slide");
    for (size_t i = 0; i < r->count; i++) {
        if (strlen(r->row[i].slide_id) > width) width = strlen(r->row[i].slide_id);
    }
    return width < 60 ? (int)width : 60;
}

/* Columns of what was looked for, or found. */
static bool is_shown(const sw_tile_result *r, int kind)
{
    return r->looked_for[kind] || r->n_left_out[kind] > 0;
}

static void print_left_out(const sw_tile_result *r)
{
    const char *before = "left out: ";
    for (int kind = 1; kind < SW_LEFT_KINDS; kind++) {
        if (!is_shown(r, kind)) continue;
        printf("%s%lld %s", before, (long long)r->n_left_out[kind], sw_left_out_name((sw_left_out)kind));
        before = ", ";
    }
    if (before[0] == ',') printf(" patches\n");
}

void cli_tile_print(const sw_tile_result *r, const char *store, bool complete)
{
    int width = width_of_ids(r);
    printf("%-*s  %-13s", width, "slide", "status");
    for (int i = 0; i < r->n_scales; i++) {
        char head[32];
        snprintf(head, sizeof head, "%g um", r->mpp_um[i]);
        printf("  %9s", head);
    }
    if (r->passthrough) printf("  passed through");
    for (int kind = 1; kind < SW_LEFT_KINDS; kind++)
        if (is_shown(r, kind)) printf("  %10s", sw_left_out_name((sw_left_out)kind));
    printf("  tissue  seconds\n");
    for (size_t i = 0; i < r->count; i++) {
        const sw_tile_row *row = &r->row[i];
        printf("%-*s  %-13s", width, row->slide_id, sw_tile_status_name(row->status));
        for (int s = 0; s < r->n_scales; s++) printf("  %9lld", (long long)row->n_patches[s]);
        if (r->passthrough) printf("  %14lld", (long long)row->n_passed_through);
        for (int kind = 1; kind < SW_LEFT_KINDS; kind++)
            if (is_shown(r, kind)) printf("  %10lld", (long long)row->n_left_out[kind]);
        printf("  %5.1f%%  %7.1f\n", 100.0 * row->tissue_fraction, row->seconds);
    }
    for (size_t i = 0; i < r->count; i++) {
        if (r->row[i].reason) printf("%s: %s\n", sw_tile_status_name(r->row[i].status), r->row[i].reason);
    }
    print_left_out(r);
    if (r->passthrough) printf("passed through: %lld patches are the slides' own JPEG tiles\n", (long long)r->n_passed_through);
    printf("%zu slides: %zu done, %zu already done, %zu failed; %lld patches in %s", r->count, r->n_done, r->n_already,
           r->n_failed, (long long)r->n_patches, store);
    if (complete) printf("; the table is in %s/slides.csv", store);
    printf("\n");
}
