/* SPDX-License-Identifier: Apache-2.0 */
/* The guard backend faults where it must: each crime is done in a child process. */
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/guard/guard.h"
#include "op/op.h"

typedef struct scene {
    sw_backend *be;
    sw_tensor x, y;
} scene;

static float *memory(const sw_tensor *t)
{
    return (float *)((char *)t->storage->mem + t->offset);
}

static sw_kernels sound;

static sw_status one_too_far(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    SW_TRY(sound.forward(be, args, err));
    memory(args->out[0])[sw_tensor_count(args->out[0])] = 1.0f;
    return SW_OK;
}

static sw_status reads_too_far(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    SW_TRY(sound.forward(be, args, err));
    memory(args->out[0])[0] = memory(args->in[0])[sw_tensor_count(args->in[0])];
    return SW_OK;
}

static sw_status writes_input(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    SW_TRY(sound.forward(be, args, err));
    memory(args->in[0])[0] = 1.0f;
    return SW_OK;
}

static void run_relu(scene *s)
{
    sw_error err = {0};
    sw_forward_args args = {.in = {&s->x}, .out = {&s->y}};
    if (sw_backend_run(s->be, SW_OP_RELU, &args, &err) != SW_OK) exit(3);
}

static void run_with(scene *s, sw_forward_fn broken)
{
    sound = *sw_guard_inner(s->be, SW_OP_RELU);
    sw_guard_inner(s->be, SW_OP_RELU)->forward = broken;
    run_relu(s);
}

static void innocent(scene *s)
{
    run_relu(s);
}

static void read_outside(scene *s)
{
    volatile float value = memory(&s->x)[0];
    (void)value;
}

static void write_outside(scene *s)
{
    run_relu(s); /* after a kernel the pages are closed again */
    *(volatile float *)memory(&s->y) = 1.0f;
}

static void kernel_one_too_far(scene *s)
{
    run_with(s, one_too_far);
}

static void kernel_reads_too_far(scene *s)
{
    run_with(s, reads_too_far);
}

static void kernel_writes_input(scene *s)
{
    run_with(s, writes_input);
}

/* The signal that ended the child, 0 for a normal exit 0, -1 otherwise. */
static int fate(void (*crime)(scene *), int64_t count)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGSEGV, SIG_DFL); /* also under a sanitizer */
        signal(SIGBUS, SIG_DFL);
        scene s = {0};
        sw_error err = {0};
        float zeros[2000] = {0};
        if (sw_backend_new("guard", NULL, &s.be, &err) != SW_OK) _exit(3);
        sw_shape shape = sw_shape_of(1, &count);
        if (sw_tensor_from(&s.be->device, SW_F32, shape, zeros, &s.x, &err) != SW_OK) _exit(3);
        if (sw_tensor_new(&s.be->device, SW_F32, shape, &s.y, &err) != SW_OK) _exit(3);
        crime(&s);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return -1;
    if (WIFSIGNALED(status)) return WTERMSIG(status);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

TEST(touching_a_tensor_outside_of_kernels_faults)
{
    CHECK_INT(fate(innocent, 7), 0);
    CHECK_INT(fate(read_outside, 7), SIGSEGV);
    CHECK_INT(fate(write_outside, 7), SIGSEGV);
}

TEST(a_kernel_that_leaves_its_tensors_faults)
{
    /* Sizes inside a page, of exactly one page, and beyond. */
    const int64_t size[] = {1, 7, 1024, 1500};
    for (int i = 0; i < 4; i++) {
        CHECK_INT(fate(innocent, size[i]), 0);
        CHECK_INT(fate(kernel_one_too_far, size[i]), SIGSEGV);
        CHECK_INT(fate(kernel_reads_too_far, size[i]), SIGSEGV);
        CHECK_INT(fate(kernel_writes_input, size[i]), SIGSEGV);
    }
}
