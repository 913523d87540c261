/* The original study's training step in plain C: one input and target, one tanh layer of H units, K Gaussians, Adam on the full
   batch. Examples are the last axis of every array and are processed in blocks that fit into the first cache, so that the compiler
   turns each inner loop into vector instructions. H, K and BLOCK, a divisor of the batch size, are defined by -D. */
#include <math.h>
#include <string.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#define P (3 * K) /* outputs: logits, locations, log scales */
#define NUM (2 * H + H * P + P)
#define HALF_LOG_2PI 0.91893853320467274f
#define EACH for (int i = 0; i < BLOCK; i++)

/* All parameters in one block of memory: kernel and bias of the layer, kernel and bias of the head. */
typedef struct { float w[H], b[H], head[H][P], bias[P]; } Net;

static float block(const Net *net, const float *x, const float *y, Net *grad) {
    static float hidden[H][BLOCK], out[P][BLOCK], back[H][BLOCK];
    float loss = 0;
    for (int j = 0; j < H; j++) EACH hidden[j][i] = tanhf(net->w[j] * x[i] + net->b[j]);
    for (int q = 0; q < P; q++) {
        EACH out[q][i] = net->bias[q];
        for (int j = 0; j < H; j++) EACH out[q][i] += net->head[j][q] * hidden[j][i];
    }
    EACH { /* the loss; its gradient overwrites the outputs */
        float joint[K], z[K], e[K], top = out[0][i], peak, sum = 0, all = 0;
        for (int k = 1; k < K; k++) top = fmaxf(top, out[k][i]);
        for (int k = 0; k < K; k++) {
            e[k] = expf(out[k][i] - top);
            sum += e[k];
            z[k] = (y[i] - out[K + k][i]) * expf(-out[2 * K + k][i]);
            joint[k] = out[k][i] - top - 0.5f * z[k] * z[k] - out[2 * K + k][i] - HALF_LOG_2PI;
        }
        peak = joint[0];
        for (int k = 1; k < K; k++) peak = fmaxf(peak, joint[k]);
        for (int k = 0; k < K; k++) all += (joint[k] = expf(joint[k] - peak));
        loss += logf(sum) - peak - logf(all);
        for (int k = 0; k < K; k++) {
            float r = joint[k] / all;
            out[k][i] = e[k] / sum - r;
            out[K + k][i] = -r * z[k] * expf(-out[2 * K + k][i]);
            out[2 * K + k][i] = r * (1 - z[k] * z[k]);
        }
    }
    for (int q = 0; q < P; q++) EACH grad->bias[q] += out[q][i];
    for (int j = 0; j < H; j++)
        for (int q = 0; q < P; q += 3) { /* three sums at a time, so that each unit is read only once for them */
            float a = 0, b = 0, c = 0;
            EACH {
                a += hidden[j][i] * out[q][i];
                b += hidden[j][i] * out[q + 1][i];
                c += hidden[j][i] * out[q + 2][i];
            }
            grad->head[j][q] += a;
            grad->head[j][q + 1] += b;
            grad->head[j][q + 2] += c;
        }
    for (int j = 0; j < H; j++) {
        float by_kernel = 0, by_bias = 0;
        EACH back[j][i] = 0;
        for (int q = 0; q < P; q++) EACH back[j][i] += net->head[j][q] * out[q][i];
        EACH {
            float slope = back[j][i] * (1 - hidden[j][i] * hidden[j][i]);
            by_kernel += slope * x[i];
            by_bias += slope;
        }
        grad->w[j] += by_kernel;
        grad->b[j] += by_bias;
    }
    return loss;
}

/* Trains for num_steps and returns the loss before the first step. Changes `params` in place; num is a multiple of BLOCK. */
float train(int num_steps, int num, const float *x, const float *y, float *params, float rate) {
    static float mean[NUM], square[NUM];
    static Net grad;
    float first = 0, decay1 = 1, decay2 = 1, *g = (float *)&grad;
#ifdef __SSE__
    unsigned int mode = _mm_getcsr(); /* rounds subnormal numbers, which are slow, to 0 as XLA does; reset at the end */
    _mm_setcsr(mode | 0x8040);
#endif
    memset(mean, 0, sizeof mean);
    memset(square, 0, sizeof square);
    for (int step = 0; step < num_steps; step++) {
        float loss = 0;
        memset(&grad, 0, sizeof grad);
        for (int start = 0; start < num; start += BLOCK) loss += block((Net *)params, x + start, y + start, &grad);
        if (step == 0) first = loss / num;
        decay1 *= 0.9f;
        decay2 *= 0.999f;
        for (int i = 0; i < NUM; i++) {
            float d = g[i] / num;
            mean[i] = 0.9f * mean[i] + 0.1f * d;
            square[i] = 0.999f * square[i] + 0.001f * d * d;
            params[i] -= rate * (mean[i] / (1 - decay1)) / (sqrtf(square[i] / (1 - decay2)) + 1e-8f);
        }
    }
#ifdef __SSE__
    _mm_setcsr(mode);
#endif
    return first;
}
