/* file_codes.h: from the ternary formats of files to codes 0, 1, 2 for -1, 0, +1, one to a byte.
 *
 * Each function writes the codes of columns col..col + n - 1 of one row: codes [n]. `row` points to the blocks of the
 * row, its scale not included; col and n are multiples of what the format codes together. Returns 1 if something in
 * that run stands for no weight; codes are then without meaning. docs/formats.md draws the blocks. */
#ifndef BN_FILE_CODES_H
#define BN_FILE_CODES_H

#include <stddef.h>
#include <stdint.h>

enum { BN_FILE_COLS = 256 };    /* a multiple of what any of the formats codes together */

/* int8 trits, any col and n. */
int bn_codes_trits(const int8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes);
/* 128 columns in 32 bytes; as written on ARM, 64 in 16. */
int bn_codes_i2_s(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes);
int bn_codes_i2_s_arm(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes);
/* 256 columns in 54 or 66 bytes, the last two of them the scale. */
int bn_codes_tq1_0(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes);
int bn_codes_tq2_0(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes);
/* 64 columns in 13 or 16 bytes. */
int bn_codes_iq1_bn(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes);
int bn_codes_iq2_bn(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes);
/* 64 columns of four rows in 64 bytes. `row` points to the blocks of all four, `which` is 0..3. */
int bn_codes_iq2_bn_r4(const uint8_t *restrict row, size_t which, size_t col, size_t n, uint8_t *restrict codes);
/* 64 columns in 18 bytes, the first two of them the scale. */
int bn_codes_q2_0(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes);

#endif
