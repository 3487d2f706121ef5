/* file_codes.c: the ternary formats of files, taken apart (file_codes.h).
 *
 * Plain loops over the bytes of a block, of lengths that the compiler knows: it makes vectors of them. */
#include "file_codes.h"

#include <string.h>

/* ---- Two bits a weight ---- */

/* Non-zero if one of the four fields of a byte is 3. */
static inline uint8_t has_3(uint8_t byte)
{
    return byte & byte >> 1 & 0x55;
}

/* `width` bytes, 16 or 32: the four fields of byte i go to codes[i], [width + i], [2 width + i], [3 width + i], from the
 * low bits up, or from the top bits down. */
static inline uint8_t four_fields(const uint8_t *restrict data, size_t width, int from_top, uint8_t *restrict codes)
{
    uint8_t bad = 0;
    for (size_t i = 0; i < width; i++) {
        uint8_t byte = data[i];
        bad |= has_3(byte);
        codes[i] = from_top ? byte >> 6 : byte & 3;
        codes[width + i] = byte >> (from_top ? 4 : 2) & 3;
        codes[2 * width + i] = byte >> (from_top ? 2 : 4) & 3;
        codes[3 * width + i] = from_top ? byte & 3 : byte >> 6;
    }
    return bad;
}

int bn_codes_trits(const int8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes)
{
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        codes[i] = (uint8_t)(row[col + i] + 1);
        bad |= codes[i] > 2;
    }
    return bad;
}

int bn_codes_i2_s(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes)
{
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i += 128)
        bad |= four_fields(row + (col + i) / 4, 32, 1, codes + i);
    return bad != 0;
}

int bn_codes_i2_s_arm(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes)
{
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i += 64)
        bad |= four_fields(row + (col + i) / 4, 16, 1, codes + i);
    return bad != 0;
}

int bn_codes_tq2_0(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes)
{
    const uint8_t *block = row + col / 256 * 66;
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i += 256, block += 66) {
        bad |= four_fields(block, 32, 0, codes + i);
        bad |= four_fields(block + 32, 32, 0, codes + i + 128);
    }
    return bad != 0;
}

int bn_codes_iq2_bn(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes)
{
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i += 64)
        bad |= four_fields(row + (col + i) / 4, 16, 0, codes + i);
    return bad != 0;
}

/* The four fields of each of four bytes, from the low bits up: field f of byte i goes to codes[f * 4 + i]. */
static inline void four_by_four(const uint8_t *restrict bytes, uint8_t *restrict codes)
{
    uint32_t all, one;
    memcpy(&all, bytes, sizeof all);
    for (size_t field = 0; field < 4; field++) {
        one = all >> 2 * field & 0x03030303;       /* what crosses from byte to byte is masked */
        memcpy(codes + 4 * field, &one, sizeof one);
    }
}

/* Byte 16 l + 4 which + i of a block holds columns 16 l + i, + 4, + 8, + 12 of the row, from the low bits up. */
int bn_codes_iq2_bn_r4(const uint8_t *restrict row, size_t which, size_t col, size_t n, uint8_t *restrict codes)
{
    uint8_t bad = 0;
    for (size_t at = 0; at < n; at += 16) {
        const uint8_t *bytes = row + col + at + 4 * which;
        four_by_four(bytes, codes + at);
        for (size_t i = 0; i < 4; i++)
            bad |= has_3(bytes[i]);
    }
    return bad != 0;
}

/* The four fields of each byte, from the low bits up. */
#define FOUR(b) {(b) & 3, (b) >> 2 & 3, (b) >> 4 & 3, (b) >> 6}
#define EVERY_4(m, b) m(b), m((b) + 1), m((b) + 2), m((b) + 3)
#define EVERY_16(m, b) EVERY_4(m, b), EVERY_4(m, (b) + 4), EVERY_4(m, (b) + 8), EVERY_4(m, (b) + 12)
#define EVERY_64(m, b) EVERY_16(m, b), EVERY_16(m, (b) + 16), EVERY_16(m, (b) + 32), EVERY_16(m, (b) + 48)
#define EVERY_BYTE(m) {EVERY_64(m, 0), EVERY_64(m, 64), EVERY_64(m, 128), EVERY_64(m, 192)}
static const uint8_t four[256][4] = EVERY_BYTE(FOUR);

/* Byte m of a block holds columns 4 m .. 4 m + 3, from the low bits up. */
int bn_codes_q2_0(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes)
{
    const uint8_t *block = row + col / 64 * 18 + 2;
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i += 64, block += 18)
        for (size_t m = 0; m < 16; m++) {
            bad |= has_3(block[m]);
            memcpy(codes + i + 4 * m, four[block[m]], 4);
        }
    return bad != 0;
}

/* ---- Five trits a byte: byte = ceil(256 * v / 243), v a number of five digits of base 3 ---- */

/* The digit that passes 256 when the fraction byte * power / 256, less its whole part, is multiplied by 3. */
static inline uint8_t digit(uint8_t byte, unsigned power)
{
    return (uint8_t)(((byte * power & 255) * 3) >> 8);
}

/* 1 for the 13 bytes that are no such number: 243 * byte = 256 * v + rest has a rest below 243 for the others. */
static inline uint8_t is_no_number(uint8_t byte)
{
    return (uint8_t)(byte * 243) >= 243;
}

/* `width` bytes of `n_digits` digits, most significant first: digit d of byte i goes to codes[d * width + i]. A digit
 * that is not used must be 0. */
static inline uint8_t digits(const uint8_t *restrict data, size_t width, size_t n_digits, uint8_t *restrict codes)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    uint8_t bad = 0;
    for (size_t i = 0; i < width; i++)
        bad |= is_no_number(data[i]);
    for (size_t d = 0; d < n_digits; d++)
        for (size_t i = 0; i < width; i++)
            codes[d * width + i] = digit(data[i], power[d]);
    for (size_t d = n_digits; d < 5; d++)
        for (size_t i = 0; i < width; i++)
            bad |= digit(data[i], power[d]);
    return bad;
}

int bn_codes_tq1_0(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes)
{
    const uint8_t *block = row + col / 256 * 54;
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i += 256, block += 54) {
        bad |= digits(block, 32, 5, codes + i);
        bad |= digits(block + 32, 16, 5, codes + i + 160);
        bad |= digits(block + 48, 4, 4, codes + i + 240);
    }
    return bad != 0;
}

/* The five digits of each byte, least significant first, and 1 if it is no number. */
#define DIGIT(b, power) ((((b) * (power) & 255) * 3) >> 8)
#define FIVE(b) {DIGIT(b, 81), DIGIT(b, 27), DIGIT(b, 9), DIGIT(b, 3), DIGIT(b, 1), ((b) * 243 & 255) >= 243, 0, 0}
static const uint8_t five[256][8] = EVERY_BYTE(FIVE);

/* Each 16 columns take three bytes of five digits, the least significant first, and one digit of byte 12. */
int bn_codes_iq1_bn(const uint8_t *restrict row, size_t col, size_t n, uint8_t *restrict codes)
{
    const uint8_t *block = row + col / 64 * 13;
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i += 64, block += 13) {
        const uint8_t *last = five[block[12]];
        uint8_t out[64 + 8];                /* eight bytes are copied for five digits; the next ones cover the rest */
        bad |= last[5] | last[4];
        for (size_t g = 0; g < 4; g++) {
            for (size_t part = 0; part < 3; part++) {
                const uint8_t *first = five[block[3 * g + part]];
                bad |= first[5];
                memcpy(out + 16 * g + 5 * part, first, 8);
            }
            out[16 * g + 15] = last[g];
        }
        memcpy(codes + i, out, 64);
    }
    return bad != 0;
}
