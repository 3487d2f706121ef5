/* probe_scalar.c: how fast memory is read and int8 numbers are multiplied, in plain C: what the probes return. */
#include <string.h>

#include "../kernels.h"

uint64_t bn_probe_read__scalar(const uint8_t *data, size_t n_lines)
{
    uint64_t all = 0;
    for (size_t i = 0; i < n_lines * 8; i++) {
        uint64_t word;
        memcpy(&word, data + 8 * i, sizeof word);
        all ^= word;
    }
    return all;
}

uint32_t bn_probe_int8__scalar(const uint8_t *codes, const int8_t *q, size_t n_steps)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n_steps * (BN_PROBE_PRODUCTS / 64); i++)
        for (size_t j = 0; j < 64; j++)
            sum += (uint32_t)(codes[j] * q[j]);
    return sum;
}
