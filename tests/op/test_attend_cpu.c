/* SPDX-License-Identifier: Apache-2.0 */
/* The streamed attention with several columns on the cpu backend: tails of tiles on every instruction set, gradients that
 * are not wanted, scores that leave the range of exp, flat memory. */
#include "cpu_harness.h"

TEST(every_instruction_set_handles_the_ends_of_tiles)
{
    static const int64_t queries[] = {1, 5, 16, 17, 33, 49, 64, 131}, keys[] = {1, 2, 5, 47, 48, 49, 131};
    static const int64_t width[] = {1, 7, 16, 33, 48, 64, 130};
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 7; j++) {
            size_t w = (i + 3 * j) % 7;
            sw_attend_attr attr = {.scale = 2 / sqrt((double)width[w])};
            problem p = wide_attention((int64_t)i % 2 + 1, queries[i], keys[j], width[w], width[(2 * i + j) % 7], &attr);
            p.add = (i + j) % 2;
            check_sets(&p, 3e-6);
        }
}

/* Some tens of queries over keys cut into parts, the last one short, and over more than one stretch. */
TEST(parts_of_the_keys_join)
{
    static const int64_t queries[] = {1, 20, 64, 300}, keys[] = {193, 577, 3001};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 3; j++) {
            sw_attend_attr attr = {.scale = 0.5};
            problem p = wide_attention(1 + (int64_t)j % 2, queries[i], keys[j], 16, 33, &attr);
            p.add = (i + j) % 2;
            check_sets(&p, 3e-6);
        }
}

TEST(gradients_that_are_not_wanted_are_left_out)
{
    for (unsigned grads = 1; grads < 7; grads++)
        for (int64_t queries = 70; queries <= 700; queries += 630) {
            sw_attend_attr attr = {.scale = 0.5};
            problem p = wide_attention(2, queries, 400, 16, 33, &attr);
            p.grads = grads;
            check_sets(&p, 3e-6);
        }
}

/* A query that has one key to look at takes its value as it is, and its score has no gradient. */
TEST(one_key_to_the_bit)
{
    sw_attend_attr attr = {.scale = 7};
    problem p = wide_attention(2, 70, 1, 33, 47, &attr);
    const sw_simd *set[SETS] = {sw_simd_base(), sw_simd_avx2(), sw_simd_avx512()};
    sw_error err;
    for (int s = 0; s < SETS; s++) {
        if (!set[s]) continue;
        SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
        SW_CLEANUP(answer_free) answer a = {.out = {NULL}};
        CHECK_OK(new_cpu(2, &cpu, &err));
        sw_cpu_of(cpu)->simd = set[s];
        CHECK_OK(solve(cpu, &p, &a, &err));
        for (int i = 0; i < 2 * 70 * 47; i++) CHECK(a.out[0][i] == a.in[2][i / (70 * 47) * 47 + i % 47]);
        for (int i = 0; i < 2 * 70 * 33; i++) CHECK(a.grad[0][i] == 0);
        for (int i = 0; i < 2 * 33; i++) CHECK(a.grad[1][i] == 0);
    }
}

/* One head of width one: the score of query i with key j is q[i] * k[j]. */
enum { LINE = 4201, EVERY = 70, COLUMNS = 3 };

static sw_status attend_line(const sw_simd *simd, const float *q, int64_t m, const float *k, const float *v, float *y, float *lse,
                             sw_error *err)
{
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    SW_CLEANUP(release_tensors) sw_tensor t[SW_OP_MAX_IN * 2 + SW_OP_MAX_OUT + 1] = {{0}};
    sw_attend_attr attr = {.scale = 1};
    const float *host[] = {q, k, v};
    const sw_shape shape[] = {SW_SHAPE(1, m, 1), SW_SHAPE(1, LINE, 1), SW_SHAPE(1, LINE, COLUMNS), SW_SHAPE(1, m, COLUMNS),
                              SW_SHAPE(1, m)};
    SW_TRY(new_cpu(1, &cpu, err));
    sw_cpu_of(cpu)->simd = simd;
    sw_forward_args args = {.attr = &attr};
    for (int i = 0; i < 5; i++) {
        SW_TRY(sw_tensor_new(&cpu->device, SW_F32, shape[i], &t[i], err));
        if (i < 3) SW_TRY(sw_tensor_upload_f32(&t[i], host[i], err));
        if (i < 3) args.in[i] = &t[i];
        else args.out[i - 3] = &t[i];
    }
    SW_TRY(cpu->kernel[SW_OP_ATTEND].forward(cpu, &args, err));
    SW_TRY(sw_tensor_download_f32(&t[3], y, err));
    return sw_tensor_download_f32(&t[4], lse, err);
}

static void check_line_of(const sw_simd *simd, const float *q, int64_t m, const float *k, const float *v)
{
    static float y[LINE * COLUMNS], lse[LINE];
    sw_error err;
    CHECK_OK(attend_line(simd, q, m, k, v, y, lse, &err));
    for (int64_t i = 0; i < m; i += EVERY) {
        double top = -INFINITY, sum = 0, weighted[COLUMNS] = {0}, size = 0;
        for (int j = 0; j < LINE; j++) top = fmax(top, (double)q[i] * (double)k[j]);
        for (int j = 0; j < LINE; j++) {
            double score = (double)q[i] * (double)k[j], e = exp(score - top);
            sum += e;
            for (int c = 0; c < COLUMNS; c++) weighted[c] += e * (double)v[j * COLUMNS + c];
            size = fmax(size, fabs(score));
        }
        /* A score is rounded to float several times. */
        for (int c = 0; c < COLUMNS; c++)
            CHECK_NEAR(y[i * COLUMNS + c], weighted[c] / sum, 0, 3 * (2e-6 + 4 * size * 6e-8));
        CHECK_NEAR(lse[i], top + log(sum), 0, 1e-6 + 4 * size * 6e-8);
    }
}

static void check_line(float first_q, float step_q, float first_k, float step_k)
{
    const sw_simd *set[SETS] = {sw_simd_base(), sw_simd_avx2(), sw_simd_avx512()};
    static float q[LINE], k[LINE], v[LINE * COLUMNS];
    for (int i = 0; i < LINE; i++) {
        q[i] = first_q + step_q * (float)i;
        k[i] = first_k + step_k * (float)i;
        for (int c = 0; c < COLUMNS; c++) v[i * COLUMNS + c] = (float)((i + c) % 7) - 3;
    }
    for (int s = 0; s < SETS; s++)
        for (int64_t m = 1; set[s] && m < 100; m += 70) check_line_of(set[s], q, m, k, v); /* few: keys in parts */
    for (int s = 0; s < SETS; s++)
        if (set[s]) check_line_of(set[s], q, LINE, k, v);
}

TEST(scores_far_outside_the_range_of_exp)
{
    check_line(1, 0, 0, 2.5f);      /* each key above all before it, to 10000 */
    check_line(1, 0, 10000, -2.5f); /* each below */
    check_line(-1, 0, 1000, 0);     /* all alike, far down */
    check_line(1, 0, 1000, 0.001f); /* close to each other, far up */
    check_line(-5, 0.0024f, -300, 0.15f); /* each query its own way, to 1600 */
    check_line(0.3f, 0.001f, 0, 0.005f);  /* rises slowly: the reference lags behind */
}

TEST(large_scores_of_heads)
{
    sw_attend_attr attr = {.scale = 60}; /* of +-1000: softmax picks single keys */
    problem p = wide_attention(2, 100, 300, 32, 20, &attr);
    check_sets(&p, 1e-3); /* a score of 1000 is known to 6e-5 in float */
}

static void most_bytes(int64_t n, int64_t *bytes)
{
    sw_error err;
    sw_attend_attr attr = {.scale = 1};
    problem p = wide_attention(2, n, n, 8, 8, &attr);
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    SW_CLEANUP(answer_free) answer a = {.out = {NULL}};
    CHECK_OK(new_cpu(2, &cpu, &err));
    CHECK_OK(solve(cpu, &p, &a, &err));
    sw_memory_use use = sw_backend_memory(cpu);
    *bytes = (int64_t)(use.peak + use.scratch);
}

TEST(work_memory_grows_with_n_and_not_with_its_square)
{
    int64_t small = 0, large = 0;
    most_bytes(1024, &small);
    most_bytes(8192, &large);
    CHECK(small > 0);
    CHECK(large < 8 * small);
    CHECK(large < 8192 * 8192); /* a byte per pair */
}
