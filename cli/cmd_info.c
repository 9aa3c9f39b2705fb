/* SPDX-License-Identifier: Apache-2.0 */
/* info: what a slide says about itself. */
#include <stdio.h>

#include "base/buf.h"
#include "base/json.h"
#include "cli.h"
#include "slidewise/slide.h"

static const cli_option options[] = {
    {"json", 0, CLI_FLAG, NULL, "print one JSON object a slide, one a line"},
    {"mpp", 0, CLI_REAL, "UM", "microns per pixel of level 0, instead of what the file says"},
    {"properties", 0, CLI_FLAG, NULL, "list the file's own properties, too"},
    {0},
};

static void put_number(sw_json_writer *w, const char *key, double value)
{
    sw_json_key(w, key);
    if (value > 0) {
        sw_json_number(w, value);
    } else {
        sw_json_null(w);
    }
}

static void put_levels(sw_json_writer *w, const sw_slide_info *info)
{
    sw_json_key(w, "levels");
    sw_json_array(w);
    for (int i = 0; i < info->n_levels; i++) {
        const sw_slide_level *level = &info->level[i];
        sw_json_object(w);
        sw_json_key(w, "width");
        sw_json_int(w, level->width);
        sw_json_key(w, "height");
        sw_json_int(w, level->height);
        put_number(w, "downsample", level->downsample);
        put_number(w, "mpp_um", level->mpp_um);
        put_number(w, "magnification", level->magnification);
        sw_json_end_object(w);
    }
    sw_json_end_array(w);
}

static sw_status print_json(const sw_slide *slide, bool properties, sw_error *err)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    sw_buf text = {0};
    sw_json_writer w;
    sw_json_begin(&w, &text, 0);
    sw_json_object(&w);
    sw_json_key(&w, "path");
    sw_json_string(&w, info->path);
    sw_json_key(&w, "slide_id");
    sw_json_string(&w, info->slide_id);
    sw_json_key(&w, "format");
    sw_json_string(&w, info->format);
    sw_json_key(&w, "width");
    sw_json_int(&w, info->width);
    sw_json_key(&w, "height");
    sw_json_int(&w, info->height);
    put_number(&w, "mpp_um", info->mpp_um);
    put_number(&w, "mpp_um_x", info->mpp_um_x);
    put_number(&w, "mpp_um_y", info->mpp_um_y);
    sw_json_key(&w, "mpp_source");
    sw_json_string(&w, sw_mpp_source_name(info->mpp_source));
    put_number(&w, "objective_power", info->objective_power);
    put_levels(&w, info);
    if (properties) {
        sw_json_key(&w, "properties");
        sw_json_object(&w);
        for (size_t i = 0; i < sw_slide_property_count(slide); i++) {
            sw_json_key(&w, sw_slide_property_name(slide, i));
            sw_json_string(&w, sw_slide_property_value(slide, i));
        }
        sw_json_end_object(&w);
    }
    sw_json_end_object(&w);
    sw_status status = sw_buf_status(&text, err);
    if (status == SW_OK) printf("%s\n", text.data);
    sw_buf_free(&text);
    return status;
}

static void print_text(const sw_slide *slide, bool properties)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    printf("%s\n  format         %s\n  size           %lld x %lld pixels\n", info->path, info->format,
           (long long)info->width, (long long)info->height);
    if (info->mpp_source == SW_MPP_NONE) {
        printf("  resolution     not in the file; give --mpp or a CSV with columns slide_id,mpp\n");
    } else if (info->mpp_um_x == info->mpp_um_y) {
        printf("  resolution     %.6g um per pixel (%s)\n", info->mpp_um, sw_mpp_source_name(info->mpp_source));
    } else {
        printf("  resolution     %.6g x %.6g um per pixel (%s)\n", info->mpp_um_x, info->mpp_um_y,
               sw_mpp_source_name(info->mpp_source));
    }
    if (info->mpp_source == SW_MPP_OBJECTIVE) {
        printf("                 a guess from the objective power; check it, or give --mpp\n");
    }
    if (info->objective_power > 0) printf("  objective      %gx\n", info->objective_power);
    printf("  level     width    height  downsample     um/pixel  magnification\n");
    for (int i = 0; i < info->n_levels; i++) {
        const sw_slide_level *level = &info->level[i];
        printf("  %5d  %8lld  %8lld  %10.4f", i, (long long)level->width, (long long)level->height, level->downsample);
        if (level->mpp_um > 0) {
            printf("  %11.4f  %12.3gx\n", level->mpp_um, level->magnification);
        } else {
            printf("            ?              ?\n");
        }
    }
    for (size_t i = 0; properties && i < sw_slide_property_count(slide); i++) {
        printf("  %s: %s\n", sw_slide_property_name(slide, i), sw_slide_property_value(slide, i));
    }
}

static int show(const cli_args *args, const sw_slide_entry *entry)
{
    sw_error err = {0};
    sw_slide *slide = NULL;
    sw_slide_options opt = sw_slide_options_default();
    opt.mpp_um = cli_real(args, "mpp", entry->mpp_um);
    if (sw_slide_open(entry->path, &opt, &slide, &err) != SW_OK) return cli_fail(&err);
    sw_status status = SW_OK;
    if (cli_flag(args, "json")) {
        status = print_json(slide, cli_flag(args, "properties"), &err);
    } else {
        print_text(slide, cli_flag(args, "properties"));
    }
    sw_slide_close(&slide);
    return status == SW_OK ? 0 : cli_fail(&err);
}

/* Every operand is tried, so that one broken slide does not hide the others. */
static int run(const cli_args *args)
{
    int exit_status = 0;
    if (cli_given(args, "mpp") && !(cli_real(args, "mpp", 0) > 0)) {
        return cli_misuse("--mpp %g: give microns per pixel, e.g. 0.5", cli_real(args, "mpp", 0));
    }
    for (size_t i = 0; i < cli_operand_count(args); i++) {
        const char *operand = cli_operand(args, i);
        sw_slide_list list = {0};
        sw_error err = {0};
        if (sw_slide_list_expand(&operand, 1, &list, &err) != SW_OK) exit_status = cli_fail(&err);
        for (size_t k = 0; k < list.count; k++) {
            if (show(args, &list.entry[k]) != 0) exit_status = 1;
        }
        sw_slide_list_free(&list);
    }
    return exit_status;
}

const cli_command cli_cmd_info = {
    .name = "info",
    .operands = "SLIDE|DIR|CSV...",
    .summary = "Format, size, levels and resolution of slides",
    .text = "Prints what each slide says about itself: format, pixels, microns per pixel and where that number comes from, "
            "objective power, and the levels with their downsample and estimated magnification (10 / microns per pixel).\n"
            "The resolution is taken from --mpp, else from the scanner's own value, else from the resolution tags of the "
            "TIFF file where they are plausible (0.05 to 20 um), else guessed from the objective power.\n"
            "Slides that cannot be opened are told on stderr; the exit status is then 1.",
    .examples = "slidewise info slide.svs\n"
                "slidewise info slides/ --json\n"
                "slidewise info scan.png --mpp 0.25",
    .min_operands = 1,
    .max_operands = -1,
    .options = options,
    .run = run,
};
