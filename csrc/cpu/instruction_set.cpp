#include "cpu/instruction_set.hpp"

#include <cstdlib>
#include <string>

namespace gramian {
namespace {

InstructionSet detect() {
#ifdef GRAMIAN_X86
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    const InstructionSet best = avx512 ? InstructionSet::avx512 : avx2 ? InstructionSet::avx2 : InstructionSet::baseline;
    if (const char* text = std::getenv("GRAMIAN_INSTRUCTION_SET"))
        for (const auto isa : {InstructionSet::baseline, InstructionSet::avx2})
            if (isa < best && std::string(text) == name_of(isa)) return isa;
    return best;
#else
    return InstructionSet::baseline;
#endif
}

}  // namespace

InstructionSet instruction_set() {
    static const InstructionSet chosen = detect();
    return chosen;
}

const char* name_of(InstructionSet isa) {
    switch (isa) {
        case InstructionSet::avx512: return "avx512";
        case InstructionSet::avx2: return "avx2";
        default: return "baseline";
    }
}

}  // namespace gramian
