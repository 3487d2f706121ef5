/* status.c: statuses and build facts as text. */
#include "bitnet.h"

const char *bn_status_str(bn_status status)
{
    switch (status) {
    case BN_OK: return "no error";
    case BN_ERR_NOMEM: return "not enough memory";
    case BN_ERR_ARG: return "an argument is out of range";
    case BN_ERR_ISA: return "this instruction set is unknown, not compiled in, or not supported by this CPU";
    case BN_ERR_CODE: return "the packed weights hold a value other than -1, 0 and +1";
    case BN_ERR_THREAD: return "a thread could not be started, or the threads stayed behind when the process was forked";
    case BN_ERR_SCALE: return "a scale is not a finite number";
    }
    return "unknown status";
}

#ifndef BN_COMMIT
#define BN_COMMIT ""
#endif

const char *bn_commit(void)
{
    return BN_COMMIT;
}

const char *bn_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown compiler";
#endif
}
