/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: what this build was made of, what the machine offers, and what is missing. */
#include <gnu/libc-version.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/buf.h"
#include "base/cpu.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/versions.h"
#include "cli.h"

static const struct library {
    const char *name;
    const char *(*version)(void);
} libraries[] = {
    {"openslide", sw_openslide_version}, {"onednn", sw_onednn_version},   {"lmdb", sw_lmdb_version},
    {"libjpeg-turbo", sw_turbojpeg_version},
    {"libtiff", sw_libtiff_version},     {"libpng", sw_libpng_version},   {"cairo", sw_cairo_version},
    {"jansson", sw_jansson_version},     {"libyaml", sw_libyaml_version},
    {"libzip", sw_libzip_version},       {"hdf5", sw_hdf5_version},
};

enum { LIBRARIES = sizeof(libraries) / sizeof(libraries[0]) };

/* The number in a version text: "LIBTIFF, Version 4.5.0\nCopyright" -> "4.5.0". */
static void library_version(const struct library *library, char *out, size_t size)
{
    const char *text = library->version();
    text += strcspn(text, "0123456789");
    snprintf(out, size, "%.*s", (int)strcspn(text, " :\n"), text);
}

/* The features of a CPU that decide how fast training is; names as the kernel lists them. */
static const char *const features_of_interest[] = {"avx2",     "fma",      "avx512f", "avx512_vnni", "avx512_bf16",
                                                   "amx_bf16", "asimd",    "sve",     "bf16"};
enum { FEATURES = sizeof(features_of_interest) / sizeof(features_of_interest[0]) };

typedef struct machine {
    char os[128], kernel[200], cpu[128], driver[192];
    bool feature[FEATURES];
    sw_names gpus;    /* models of NVIDIA devices */
    sw_names missing; /* sentences */
} machine;

static void machine_free(machine *m)
{
    sw_names_free(&m->gpus);
    sw_names_free(&m->missing);
}

/* The text behind "KEY<spaces>SEPARATOR" at a line's start, quotes removed; false: no such line. */
static bool find_line(const char *text, const char *key, char separator, char *out, size_t size)
{
    size_t key_size = strlen(key);
    for (const char *at = text; at && *at; at = strchr(at, '\n'), at += at != NULL) {
        if (strncmp(at, key, key_size) != 0) continue;
        const char *value = at + key_size + strspn(at + key_size, " \t");
        if (*value++ != separator) continue;
        value += strspn(value, " \t\"");
        size_t used = strcspn(value, "\"\n");
        while (used > 0 && value[used - 1] == ' ') used--;
        snprintf(out, size, "%.*s", (int)used, value);
        return true;
    }
    return false;
}

/* Files of the kernel that may be absent: an unreadable one is an empty text. */
static const char *read_quietly(const char *path, sw_buf *text)
{
    sw_error ignored;
    return sw_path_exists(path) && sw_file_read(path, text, &ignored) == SW_OK && text->data ? text->data : "";
}

static void look_at_system(machine *m)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    if (!find_line(read_quietly("/etc/os-release", &text), "PRETTY_NAME", '=', m->os, sizeof(m->os))) {
        snprintf(m->os, sizeof(m->os), "unknown");
    }
    struct utsname name;
    if (uname(&name) == 0) snprintf(m->kernel, sizeof(m->kernel), "%s %s %s", name.sysname, name.release, name.machine);
}

static void look_at_cpu(machine *m)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    const char *info = read_quietly("/proc/cpuinfo", &text);
    if (!find_line(info, "model name", ':', m->cpu, sizeof(m->cpu))) snprintf(m->cpu, sizeof(m->cpu), "unknown");
    static const char *const keys[] = {"flags", "Features"}; /* x86, ARM */
    char flags[8192];
    for (int k = 0; k < 2; k++) {
        if (!find_line(info, keys[k], ':', flags, sizeof(flags))) continue;
        char *rest = flags;
        for (const char *flag; (flag = strsep(&rest, " "));) {
            for (int i = 0; i < FEATURES; i++) m->feature[i] |= strcmp(flag, features_of_interest[i]) == 0;
        }
    }
}

static sw_status look_at_gpus(machine *m, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    if (!find_line(read_quietly("/proc/driver/nvidia/version", &text), "NVRM version", ':', m->driver, sizeof(m->driver)) &&
        sw_path_exists("/dev/nvidiactl")) {
        snprintf(m->driver, sizeof(m->driver), "NVIDIA (version unknown)");
    }
    static const char folder[] = "/proc/driver/nvidia/gpus";
    SW_CLEANUP(sw_names_free) sw_names buses = {0};
    if (sw_path_is_dir(folder)) SW_TRY(sw_dir_list(folder, true, &buses, err));
    for (size_t i = 0; i < buses.count; i++) {
        SW_AUTOFREE char *path = sw_asprintf("%s/%s/information", folder, buses.name[i]);
        if (!path) return sw_nomem(err);
        char model[128];
        bool known = find_line(read_quietly(path, &text), "Model", ':', model, sizeof(model));
        SW_TRY(sw_names_add(&m->gpus, known ? model : "unknown model", err));
    }
    if (buses.count == 0 && sw_path_exists("/dev/nvidia0")) SW_TRY(sw_names_add(&m->gpus, "unknown model", err));
    return SW_OK;
}

static bool built_with_cuda(void)
{
#ifdef SW_WITH_CUDA
    return true;
#else
    return false;
#endif
}

static bool has_feature(const machine *m, const char *name)
{
    for (int i = 0; i < FEATURES; i++) {
        if (strcmp(features_of_interest[i], name) == 0) return m->feature[i];
    }
    return false;
}

static sw_status find_missing(machine *m, sw_error *err)
{
    if (!has_feature(m, "avx2") && !has_feature(m, "asimd")) {
        SW_TRY(sw_names_add(&m->missing, "the CPU has no AVX2: training will be slow", err));
    }
    if (m->gpus.count == 0) SW_TRY(sw_names_add(&m->missing, "no GPU was found: training runs on the CPU", err));
    else if (!built_with_cuda()) {
        SW_TRY(sw_names_add(&m->missing, "a GPU is here, but this build has no CUDA backend and will not use it", err));
    }
    int64_t available = sw_memory_available_bytes();
    if (available > 0 && available < (int64_t)2 << 30) {
        SW_TRY(sw_names_add(&m->missing, "less than 2 GiB of memory is free: use small chunks (train.chunk_patches)", err));
    }
#ifndef _OPENMP
    SW_TRY(sw_names_add(&m->missing, "this build was made without OpenMP: some work uses one thread only", err));
#endif
#ifndef __OPTIMIZE__
    SW_TRY(sw_names_add(&m->missing, "this build is not optimised: use the release preset for real work", err));
#endif
    return SW_OK;
}

static const char *compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

static void print_text(const machine *m)
{
    printf("slidewise  %s\n", SW_VERSION);
    printf("compiler   %s, glibc %s\n", compiler(), gnu_get_libc_version());
    printf("system     %s (%s)\n", m->os, m->kernel);
    printf("cpu        %s, %d threads usable\n           features:", m->cpu, sw_cpu_count());
    bool any = false;
    for (int i = 0; i < FEATURES; i++) {
        if (m->feature[i]) printf(" %s", features_of_interest[i]);
        any |= m->feature[i];
    }
    printf("%s\n", any ? "" : " none of interest");
    printf("bf16       %s\n", sw_cpu_has_bf16() ? "native: run.precision auto computes in it"
                                             : "not native: run.precision auto stays with fp32");
    printf("memory     %.1f GiB, %.1f GiB free\n", (double)sw_memory_bytes() / 0x1p30, (double)sw_memory_available_bytes() / 0x1p30);
    printf("gpu        ");
    for (size_t i = 0; i < m->gpus.count; i++) printf("%s%s", i ? ", " : "", m->gpus.name[i]);
    printf("%s%s%s (CUDA backend in this build: %s)\n", m->gpus.count ? "" : "none", m->driver[0] ? "; driver " : "",
           m->driver, built_with_cuda() ? "yes" : "no");
    for (int i = 0; i < LIBRARIES; i++) {
        char version[32];
        library_version(&libraries[i], version, sizeof(version));
        printf("%-10s %-14s %s\n", i ? "" : "libraries", libraries[i].name, version);
    }
    if (m->missing.count == 0) puts("missing    nothing");
    for (size_t i = 0; i < m->missing.count; i++) printf("%-10s %s\n", i ? "" : "missing", m->missing.name[i]);
}

static void write_json(const machine *m, sw_buf *out)
{
    sw_json_writer w;
    sw_json_begin(&w, out, 2);
    sw_json_object(&w);
    const char *texts[][2] = {{"slidewise", SW_VERSION}, {"compiler", compiler()}, {"glibc", gnu_get_libc_version()},
                              {"system", m->os},         {"kernel", m->kernel},    {"cpu", m->cpu}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        sw_json_key(&w, texts[i][0]);
        sw_json_string(&w, texts[i][1]);
    }
    sw_json_key(&w, "cpu_features");
    sw_json_array(&w);
    for (int i = 0; i < FEATURES; i++) {
        if (m->feature[i]) sw_json_string(&w, features_of_interest[i]);
    }
    sw_json_end_array(&w);
    sw_json_key(&w, "bf16_native");
    sw_json_bool(&w, sw_cpu_has_bf16());
    sw_json_key(&w, "threads");
    sw_json_int(&w, sw_cpu_count());
    sw_json_key(&w, "memory_bytes");
    sw_json_int(&w, sw_memory_bytes());
    sw_json_key(&w, "memory_free_bytes");
    sw_json_int(&w, sw_memory_available_bytes());
    sw_json_key(&w, "gpus");
    sw_json_array(&w);
    for (size_t i = 0; i < m->gpus.count; i++) sw_json_string(&w, m->gpus.name[i]);
    sw_json_end_array(&w);
    sw_json_key(&w, "gpu_driver");
    sw_json_string(&w, m->driver[0] ? m->driver : NULL);
    sw_json_key(&w, "built_with_cuda");
    sw_json_bool(&w, built_with_cuda());
    sw_json_key(&w, "libraries");
    sw_json_object(&w);
    for (int i = 0; i < LIBRARIES; i++) {
        sw_json_key(&w, libraries[i].name);
        char version[32];
        library_version(&libraries[i], version, sizeof(version));
        sw_json_string(&w, version);
    }
    sw_json_end_object(&w);
    sw_json_key(&w, "missing");
    sw_json_array(&w);
    for (size_t i = 0; i < m->missing.count; i++) sw_json_string(&w, m->missing.name[i]);
    sw_json_end_array(&w);
    sw_json_end_object(&w);
    sw_buf_puts(out, "\n");
}

static sw_status examine(bool json, sw_error *err)
{
    SW_CLEANUP(machine_free) machine m = {0};
    look_at_system(&m);
    look_at_cpu(&m);
    SW_TRY(look_at_gpus(&m, err));
    SW_TRY(find_missing(&m, err));
    if (!json) {
        print_text(&m);
        return SW_OK;
    }
    SW_CLEANUP(sw_buf_free) sw_buf out = {0};
    write_json(&m, &out);
    SW_TRY(sw_buf_status(&out, err));
    fwrite(out.data, 1, out.size, stdout);
    return SW_OK;
}

static int run(const cli_args *args)
{
    sw_error err = {0};
    return examine(cli_flag(args, "json"), &err) == SW_OK ? 0 : cli_fail(&err);
}

static const cli_option options[] = {
    {"json", 0, CLI_FLAG, NULL, "print one JSON object instead of text"},
    {0},
};

const cli_command cli_cmd_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "show versions, CPU, memory and GPU, and what is missing",
    .text = "Lists the version of every library that is linked, the compiler, the CPU and those of its features that "
            "matter for speed, the threads and the memory that this process may use, and NVIDIA GPUs. Nothing is "
            "changed and nothing is sent anywhere. Put this text into a bug report.",
    .examples = "slidewise doctor\nslidewise doctor --json",
    .max_operands = 0,
    .options = options,
    .run = run,
};
