/* cpu.c: which ISA bundles of cpu.h this CPU and operating system can run.
 *
 * Asked on every call and stored nowhere. A feature counts only if the operating system also saves its registers: on
 * x86-64 XCR0 tells that, on AArch64 the operating system is the one who answers. Where it cannot be asked, only the
 * weakest vector ISA of the architecture is reported. */
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

enum {
    LEAF1_ECX_FMA = 1 << 12,
    LEAF1_ECX_OSXSAVE = 1 << 27,        /* xgetbv may be executed */
    LEAF1_ECX_AVX = 1 << 28,
    LEAF1_ECX_F16C = 1 << 29,
    LEAF7_EBX_AVX2 = 1 << 5,
    LEAF7_EBX_AVX512F = 1 << 16,
    LEAF7_EBX_AVX512DQ = 1 << 17,
    LEAF7_EBX_AVX512BW = 1 << 30,
    LEAF7_ECX_AVX512VBMI = 1 << 1,
    LEAF7_ECX_AVX512VNNI = 1 << 11,
    LEAF7_1_EAX_AVXVNNI = 1 << 4,
    XCR0_YMM = 1 << 1 | 1 << 2,         /* SSE and upper halves of ymm */
    XCR0_ZMM = XCR0_YMM | 1 << 5 | 1 << 6 | 1 << 7  /* masks, upper halves of zmm0-15, zmm16-31 */
};
static const uint32_t LEAF7_EBX_AVX512VL = UINT32_C(1) << 31;

static int has(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

/* Which register sets the operating system saves. Only where LEAF1_ECX_OSXSAVE is set. */
static uint32_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static uint32_t vector_isas(void)
{
    uint32_t a, b, c, d, isas = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX | LEAF1_ECX_FMA | LEAF1_ECX_F16C))
        return 0;
    uint32_t xcr0 = read_xcr0();
    if (!has(xcr0, XCR0_YMM) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !has(b, LEAF7_EBX_AVX2))
        return 0;
    isas |= 1u << BN_ISA_avx2;
    if (has(xcr0, XCR0_ZMM) &&
        has(b, LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW | LEAF7_EBX_AVX512VL) &&
        has(c, LEAF7_ECX_AVX512VBMI | LEAF7_ECX_AVX512VNNI))
        isas |= 1u << BN_ISA_avx512icl;
    uint32_t last_subleaf = a;
    if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && has(a, LEAF7_1_EAX_AVXVNNI))
        isas |= 1u << BN_ISA_avxvnni;
    return isas;
}

#elif defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>

/* From the kernel's list of AArch64 hwcaps; older C libraries lack the names. */
enum { HWCAP_BIT_ASIMDDP = 20, HWCAP2_BIT_I8MM = 13 };

static int has_dotprod(void)
{
    return getauxval(AT_HWCAP) >> HWCAP_BIT_ASIMDDP & 1;
}

static int has_i8mm(void)
{
    return getauxval(AT_HWCAP2) >> HWCAP2_BIT_I8MM & 1;
}

#elif defined(__APPLE__)
#include <sys/sysctl.h>

static int has_feature(const char *name)
{
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, 0, 0) == 0 && value != 0;
}

static int has_dotprod(void)
{
    return has_feature("hw.optional.arm.FEAT_DotProd");
}

static int has_i8mm(void)
{
    return has_feature("hw.optional.arm.FEAT_I8MM");
}

#elif defined(_WIN32)
#include <windows.h>

/* winnt.h: PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE, PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE; older SDKs lack the names,
 * and a Windows that does not know a number answers no. */
enum { WIN_FEATURE_DOTPROD = 43, WIN_FEATURE_I8MM = 66 };

static int has_dotprod(void)
{
    return IsProcessorFeaturePresent(WIN_FEATURE_DOTPROD) != 0;
}

static int has_i8mm(void)
{
    return IsProcessorFeaturePresent(WIN_FEATURE_I8MM) != 0;
}

#else

static int has_dotprod(void)
{
    return 0;
}

static int has_i8mm(void)
{
    return 0;
}

#endif

/* Neon is part of every AArch64. */
static uint32_t vector_isas(void)
{
    uint32_t isas = 1u << BN_ISA_neon;
    if (has_dotprod())
        isas |= 1u << BN_ISA_dotprod;
    if (has_dotprod() && has_i8mm())
        isas |= 1u << BN_ISA_i8mm;
    return isas;
}

#else

static uint32_t vector_isas(void)
{
    return 0;
}

#endif

uint32_t bn_cpu_isas(void)
{
    return 1u << BN_ISA_scalar | vector_isas();
}
