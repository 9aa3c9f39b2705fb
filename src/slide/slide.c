/* SPDX-License-Identifier: Apache-2.0 */
/* A slide: formats in a table, resolution, levels, properties. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slide/slide_handle.h"

/* Asked in this order; the first that knows the file has it. */
static const sw_slide_ops *const formats[] = {&sw_slide_openslide, &sw_slide_picture};

sw_slide_options sw_slide_options_default(void)
{
    return (sw_slide_options){.mpp_um = 0};
}

const char *sw_mpp_source_name(sw_mpp_source source)
{
    switch (source) {
    case SW_MPP_NONE: return "none";
    case SW_MPP_OPTION: return "given";
    case SW_MPP_SCANNER: return "scanner";
    case SW_MPP_TIFF: return "TIFF tags";
    case SW_MPP_OBJECTIVE: return "objective power";
    }
    return "?";
}

void sw_slide_facts_free(sw_slide_facts *facts)
{
    for (size_t i = 0; i < facts->n_properties; i++) {
        sw_free(facts->property[i].name);
        sw_free(facts->property[i].value);
    }
    sw_free(facts->property);
    sw_free(facts->level);
    memset(facts, 0, sizeof *facts);
}

sw_status sw_slide_facts_add(sw_slide_facts *facts, const char *name, const char *value, sw_error *err)
{
    SW_TRY(sw_grow(&facts->property, &facts->properties_capacity, facts->n_properties + 1, sizeof *facts->property, err));
    sw_slide_property_pair pair = {sw_strdup(name), sw_strdup(value)};
    if (!pair.name || !pair.value) {
        sw_free(pair.name);
        sw_free(pair.value);
        return sw_nomem(err);
    }
    facts->property[facts->n_properties++] = pair;
    return SW_OK;
}

const char *sw_slide_facts_find(const sw_slide_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->n_properties; i++) {
        if (strcmp(facts->property[i].name, name) == 0) return facts->property[i].value;
    }
    return NULL;
}

static double number_of(const sw_slide_facts *facts, const char *name)
{
    const char *text = sw_slide_facts_find(facts, name);
    double value = 0;
    return text && sw_parse_double(text, &value) && isfinite(value) && value > 0 ? value : 0;
}

/* Tags of 72 or 96 dots per inch are what drawing programs write when they know nothing. */
static double plausible(double mpp_um)
{
    return mpp_um >= 0.05 && mpp_um <= 20 ? mpp_um : 0;
}

static double tag_mpp(const sw_slide_facts *facts, const char *tag)
{
    const char *unit = sw_slide_facts_find(facts, "tiff.ResolutionUnit");
    double per_unit = number_of(facts, tag);
    if (!unit || per_unit == 0) return 0;
    if (strcmp(unit, "inch") == 0) return plausible(25400 / per_unit);
    if (strcmp(unit, "centimeter") == 0) return plausible(10000 / per_unit);
    return 0;
}

static bool take(double x, double y, double mpp_um[2])
{
    mpp_um[0] = x > 0 ? x : y;
    mpp_um[1] = y > 0 ? y : x;
    return mpp_um[0] > 0;
}

sw_mpp_source sw_slide_resolution(const sw_slide_facts *facts, double given, double mpp_um[2], double *objective)
{
    double x = number_of(facts, "openslide.mpp-x"), y = number_of(facts, "openslide.mpp-y");
    /* OpenSlide 4 fills these of a generic TIFF from the resolution tags, whatever they hold. */
    bool from_tags = strcmp(facts->format, "generic-tiff") == 0;
    *objective = number_of(facts, "openslide.objective-power");
    if (given > 0 && take(given, given, mpp_um)) return SW_MPP_OPTION;
    if (!from_tags && take(x, y, mpp_um)) return SW_MPP_SCANNER;
    if (take(tag_mpp(facts, "tiff.XResolution"), tag_mpp(facts, "tiff.YResolution"), mpp_um)) return SW_MPP_TIFF;
    if (from_tags && take(plausible(x), plausible(y), mpp_um)) return SW_MPP_TIFF;
    if (*objective > 0 && take(10 / *objective, 10 / *objective, mpp_um)) return SW_MPP_OBJECTIVE;
    mpp_um[0] = mpp_um[1] = 0;
    return SW_MPP_NONE;
}

static void derive(sw_slide *slide, double given)
{
    sw_slide_facts *facts = &slide->facts;
    sw_slide_info *info = &slide->info;
    double mpp_um[2];
    info->mpp_source = sw_slide_resolution(facts, given, mpp_um, &info->objective_power);
    info->mpp_um_x = mpp_um[0];
    info->mpp_um_y = mpp_um[1];
    info->mpp_um = (mpp_um[0] + mpp_um[1]) / 2;
    info->path = slide->path;
    info->slide_id = slide->slide_id;
    info->format = facts->format;
    info->width = facts->level[0].width;
    info->height = facts->level[0].height;
    info->n_levels = facts->n_levels;
    info->level = facts->level;
    for (int i = 0; i < facts->n_levels; i++) {
        sw_slide_level *level = &facts->level[i];
        level->downsample_x = (double)info->width / (double)level->width;
        level->downsample_y = (double)info->height / (double)level->height;
        level->mpp_um = info->mpp_um * (level->downsample_x + level->downsample_y) / 2;
        level->magnification = level->mpp_um > 0 ? 10 / level->mpp_um : 0;
    }
}

static sw_status check_path(const char *path, sw_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        if (errno == ENOENT) return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such file; check the path", path);
        return sw_error_set(err, sw_status_of_errno(errno), "%s: cannot be opened: %s", path, strerror(errno));
    }
    if (S_ISDIR(st.st_mode)) return sw_error_set(err, SW_E_INVALID, "%s: a folder, not a slide; name its files", path);
    if (st.st_size == 0) return sw_error_set(err, SW_E_FORMAT, "%s: the file is empty; copy it again from its source", path);
    return SW_OK;
}

static sw_status open_first(const char *path, const sw_slide_options *options, sw_slide *slide, sw_error *err)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        SW_TRY(formats[i]->open(path, options, &slide->facts, &slide->state, err));
        slide->ops = formats[i];
        if (slide->state) return SW_OK;
    }
    return sw_error_set(err, SW_E_UNSUPPORTED,
                        "%s: neither a slide that OpenSlide reads nor a JPEG, PNG or TIFF picture; convert it to a "
                        "pyramidal TIFF",
                        path);
}

sw_status sw_slide_open(const char *path, const sw_slide_options *options, sw_slide **out, sw_error *err)
{
    const sw_slide_options defaults = sw_slide_options_default();
    if (!options) options = &defaults;
    double given = options->mpp_um;
    if (!(given >= 0) || !isfinite(given)) {
        return sw_error_set(err, SW_E_INVALID, "%s: %g microns per pixel is not a resolution; give a positive number",
                            path, given);
    }
    SW_TRY(check_path(path, err));
    SW_CLEANUP(sw_slide_close) sw_slide *slide = sw_calloc(1, sizeof *slide);
    if (!slide) return sw_nomem(err);
    slide->path = sw_strdup(path);
    slide->slide_id = sw_path_stem(path);
    if (!slide->path || !slide->slide_id) return sw_nomem(err);
    slide->exact = options->exact;
    SW_TRY(open_first(path, options, slide, err));
    derive(slide, given);
    *out = SW_STEAL(slide);
    return SW_OK;
}

void sw_slide_close(sw_slide **slide)
{
    sw_slide *s = slide ? *slide : NULL;
    if (!s) return;
    if (s->state) s->ops->close(s->state);
    sw_slide_facts_free(&s->facts);
    sw_free(s->path);
    sw_free(s->slide_id);
    sw_free(s);
    *slide = NULL;
}

const sw_slide_info *sw_slide_get_info(const sw_slide *slide)
{
    return &slide->info;
}

size_t sw_slide_property_count(const sw_slide *slide)
{
    return slide->facts.n_properties;
}

const char *sw_slide_property_name(const sw_slide *slide, size_t index)
{
    return index < slide->facts.n_properties ? slide->facts.property[index].name : NULL;
}

const char *sw_slide_property_value(const sw_slide *slide, size_t index)
{
    return index < slide->facts.n_properties ? slide->facts.property[index].value : NULL;
}

const char *sw_slide_property(const sw_slide *slide, const char *name)
{
    return sw_slide_facts_find(&slide->facts, name);
}

sw_status sw_slide_need_mpp(const sw_slide *slide, double *mpp_um, sw_error *err)
{
    if (slide->info.mpp_source == SW_MPP_NONE) {
        return sw_error_set(err, SW_E_INVALID,
                            "%s: no microns per pixel in the file; give --mpp (e.g. --mpp 0.5) or a CSV with columns "
                            "slide_id,mpp",
                            slide->path);
    }
    *mpp_um = slide->info.mpp_um;
    return SW_OK;
}

int sw_slide_best_level(const sw_slide *slide, double downsample)
{
    int best = 0;
    for (int i = 1; i < slide->info.n_levels; i++) {
        if (slide->info.level[i].downsample <= downsample) best = i;
    }
    return best;
}
