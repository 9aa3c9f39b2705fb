/* SPDX-License-Identifier: Apache-2.0 */
/* The streamed attention: tails of tiles on every instruction set, scores that leave the range of exp, flat memory, and
 * products of bfloat16. */
#include "cpu_harness.h"

TEST(every_instruction_set_handles_the_ends_of_tiles)
{
    const sw_simd *set[] = {sw_simd_base(), sw_simd_avx2(), sw_simd_avx512()};
    static const int64_t count[] = {1, 5, 47, 48, 49, 64, 131}, width[] = {1, 7, 16, 33, 48, 64, 130};
    sw_error err;
    SW_CLEANUP(backend_free) sw_backend *ref = NULL;
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 7; j++) {
            sw_attend_one_attr attr = {.scale = 2 / sqrt((double)width[j])};
            problem p = attention(i % 2 + 1, count[i], width[j], &attr);
            p.add = (i + j) % 2;
            SW_CLEANUP(answer_free) answer right = {.out = {NULL}};
            CHECK_OK(solve(ref, &p, &right, &err));
            for (int s = 0; s < 3; s++) {
                if (!set[s]) continue;
                SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
                SW_CLEANUP(answer_free) answer a = {.out = {NULL}};
                CHECK_OK(new_cpu(1, &cpu, &err));
                sw_cpu_of(cpu)->simd = set[s];
                CHECK_OK(solve(cpu, &p, &a, &err));
                compare(&p, &a, &right, 2e-6);
            }
        }
}

/* --- products of bfloat16 */

#define LOG2_E 1.44269504088896340736
#define NO_BF16 "this CPU has no AVX-512 products of bfloat16: attr->reduced is float there, see without_the_instructions"

static float bf16(float x)
{
    return sw_bf16_to_f32(sw_bf16_from_f32(x));
}

/* |a - b| / |b|, both as vectors. */
static double off(const float *a, const float *b, int64_t count)
{
    double wrong = 0, size = 1e-60;
    for (int64_t i = 0; i < count; i++) {
        wrong += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(wrong / size);
}

TEST(reduced_products_at_the_ends_of_tiles)
{
    static const int64_t count[] = {1, 2, 5, 47, 48, 49, 64, 97, 131}, width[] = {1, 2, 7, 16, 31, 33, 48, 130};
    sw_error err;
    if (!sw_simd_avx512_bf16()) SKIP(NO_BF16);
    SW_CLEANUP(backend_free) sw_backend *ref = NULL;
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK_OK(new_cpu(2, &cpu, &err));
    double worst = 0, narrow = 0; /* with one column there is nothing for the rounding to average over */
    for (size_t i = 0; i < 9; i++)
        for (size_t j = 0; j < 8; j++) {
            sw_attend_one_attr attr = {.scale = 2 / sqrt((double)width[j]), .reduced = true};
            problem p = attention(i % 2 + 1, count[i], width[j], &attr);
            SW_CLEANUP(answer_free) answer right = {.out = {NULL}}, a = {.out = {NULL}};
            p.add = (i + j) % 2;
            CHECK_OK(solve(ref, &p, &right, &err));
            CHECK_OK(solve(cpu, &p, &a, &err));
            double *most = width[j] == 1 ? &narrow : &worst;
            for (int o = 0; o < 2; o++) *most = fmax(*most, off(a.out[o], right.out[o], sw_shape_count(&p.out[o])));
            /* with one key the scores have no gradient: nothing to be near to */
            for (int g = count[i] == 1 ? 2 : 0; g < 3; g++)
                *most = fmax(*most, off(a.grad[g], right.grad[g], sw_shape_count(&p.in[g])));
        }
    printf("# farthest off, as vectors: %.2g; with one column %.2g\n", worst, narrow);
    CHECK(worst < 1e-2);
    CHECK(narrow < 2e-2);
    CHECK(worst > 1e-5); /* or it was not them that ran */
}

/* Forward rounds its operands and nothing else: on numbers that bfloat16 holds already it is as good as float. */
TEST(reduced_products_round_nothing_but_their_operands)
{
    sw_error err;
    if (!sw_simd_avx512_bf16()) SKIP(NO_BF16);
    /* scale * log2(e) is 1, so that the queries stay as they are */
    sw_attend_one_attr attr = {.scale = 0.69314718055994530942, .reduced = true};
    problem p = attention(2, 301, 33, &attr);
    p.rounded = true;
    SW_CLEANUP(backend_free) sw_backend *ref = NULL;
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    SW_CLEANUP(answer_free) answer right = {.out = {NULL}}, a = {.out = {NULL}};
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK_OK(new_cpu(2, &cpu, &err));
    p.grads = 0;
    CHECK_OK(solve(ref, &p, &right, &err));
    CHECK_OK(solve(cpu, &p, &a, &err));
    compare(&p, &a, &right, 2e-6);
}

TEST(without_the_instructions_reduced_is_float)
{
    sw_error err;
    answer a[2] = {{.out = {NULL}}};
    for (int reduced = 0; reduced < 2; reduced++) {
        sw_attend_one_attr attr = {.scale = 0.7, .reduced = reduced};
        problem p = attention(2, 131, 33, &attr);
        SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
        CHECK_OK(new_cpu(2, &cpu, &err));
        sw_cpu_of(cpu)->attend_bf16 = NULL;
        CHECK_OK(solve(cpu, &p, &a[reduced], &err));
        if (reduced) compare(&p, &a[1], &a[0], 0);
    }
    for (int i = 0; i < 2; i++) answer_free(&a[i]);
}

/* One head of width one: the score of query i with key j is q[i] * k[j]. */
static sw_status attend_line(const sw_simd *simd, bool reduced, const float *q, const float *k, const float *v, int64_t n, float *p,
                             float *lse, sw_error *err)
{
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    SW_CLEANUP(release_tensors) sw_tensor t[SW_OP_MAX_IN * 2 + SW_OP_MAX_OUT + 1] = {{0}};
    sw_attend_one_attr attr = {.scale = 1, .reduced = reduced};
    const float *host[] = {q, k, v};
    SW_TRY(new_cpu(1, &cpu, err));
    sw_cpu_of(cpu)->simd = simd;
    sw_forward_args args = {.attr = &attr};
    for (int i = 0; i < 5; i++) {
        SW_TRY(sw_tensor_new(&cpu->device, SW_F32, i < 2 ? SW_SHAPE(1, n, 1) : SW_SHAPE(1, n), &t[i], err));
        if (i < 3) SW_TRY(sw_tensor_upload_f32(&t[i], host[i], err));
        if (i < 3) args.in[i] = &t[i];
        else args.out[i - 3] = &t[i];
    }
    SW_TRY(cpu->kernel[SW_OP_ATTEND_ONE].forward(cpu, &args, err));
    SW_TRY(sw_tensor_download_f32(&t[3], p, err));
    return sw_tensor_download_f32(&t[4], lse, err);
}

enum { LINE = 4201, EVERY = 70 }; /* more keys than two stretches hold */

/* `q` and `k` as the kernel sees them. */
static void check_line_of(const sw_simd *simd, bool reduced, const float *q, const float *k, const float *v)
{
    static float p[LINE], lse[LINE];
    sw_error err;
    CHECK_OK(attend_line(simd, reduced, q, k, v, LINE, p, lse, &err));
    for (int i = 0; i < LINE; i += EVERY) {
        double top = -INFINITY, sum = 0, weighted = 0, size = 0;
        double query = reduced ? (double)bf16((float)LOG2_E * q[i]) / LOG2_E : (double)q[i];
        for (int j = 0; j < LINE; j++) top = fmax(top, query * (double)k[j]);
        for (int j = 0; j < LINE; j++) {
            double score = query * (double)k[j], e = exp(score - top);
            sum += e;
            weighted += e * (double)v[j];
            size = fmax(size, fabs(score));
        }
        /* A score is rounded to float several times. */
        CHECK_NEAR(p[i], weighted / sum, 0, 3 * (2e-6 + 4 * size * 6e-8));
        CHECK_NEAR(lse[i], top + log(sum), 0, 1e-6 + 4 * size * 6e-8);
    }
}

static void check_line(float first_q, float step_q, float first_k, float step_k)
{
    const sw_simd *set[] = {sw_simd_base(), sw_simd_avx2(), sw_simd_avx512()};
    static float q[LINE], k[LINE], v[LINE];
    for (int i = 0; i < LINE; i++) {
        q[i] = first_q + step_q * (float)i;
        k[i] = first_k + step_k * (float)i;
        v[i] = (float)(i % 7) - 3;
    }
    for (int s = 0; s < 3; s++)
        if (set[s]) check_line_of(set[s], false, q, k, v);
    if (!sw_simd_avx512_bf16()) return;
    for (int i = 0; i < LINE; i++) k[i] = bf16(k[i]);
    check_line_of(sw_simd_avx512(), true, q, k, v);
}

TEST(scores_far_outside_the_range_of_exp)
{
    check_line(1, 0, 0, 2.5f);     /* each key above all before it, to 10000 */
    check_line(1, 0, 10000, -2.5f); /* each below */
    check_line(-1, 0, 1000, 0);    /* all alike, far down */
    check_line(1, 0, 1000, 0.001f); /* close to each other, far up */
    check_line(-5, 0.0024f, -300, 0.15f); /* each query its own way, to 1600 */
    check_line(0.3f, 0.001f, 0, 0.005f); /* rises slowly: the reference lags behind */
}

TEST(large_scores_of_heads)
{
    sw_attend_one_attr attr = {.scale = 60}; /* of +-1000: softmax picks single keys */
    sw_error err;
    problem p = attention(2, 300, 32, &attr);
    SW_CLEANUP(backend_free) sw_backend *ref = NULL;
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    SW_CLEANUP(answer_free) answer a = {.out = {NULL}}, b = {.out = {NULL}};
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK_OK(new_cpu(2, &cpu, &err));
    CHECK_OK(solve(ref, &p, &b, &err));
    CHECK_OK(solve(cpu, &p, &a, &err));
    compare(&p, &a, &b, 1e-3); /* a score of 1000 is known to 6e-5 in float */
}

static void scratch_bytes(int64_t n, int64_t *bytes)
{
    sw_error err;
    sw_attend_one_attr attr = {.scale = 1};
    problem p = attention(2, n, 8, &attr);
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    SW_CLEANUP(answer_free) answer a = {.out = {NULL}};
    CHECK_OK(new_cpu(2, &cpu, &err));
    CHECK_OK(solve(cpu, &p, &a, &err));
    *bytes = 0;
    for (int i = 0; i < SW_SLOT_COUNT; i++) *bytes += (int64_t)sw_cpu_of(cpu)->scratch[i].bytes;
}

TEST(work_memory_grows_with_n_and_not_with_its_square)
{
    int64_t small = 0, large = 0;
    scratch_bytes(1024, &small);
    scratch_bytes(8192, &large);
    CHECK(small > 0);
    CHECK(large < 8 * small);
    CHECK(large < 8192 * 8192); /* a byte per pair */
}
