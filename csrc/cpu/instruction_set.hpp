#pragma once

namespace gramian {

enum class InstructionSet : int { baseline, avx2, avx512 };

/// The best that this build and this CPU share; GRAMIAN_INSTRUCTION_SET may name a lesser one.
InstructionSet instruction_set();
const char* name_of(InstructionSet isa);

}  // namespace gramian
