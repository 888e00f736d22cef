#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "emulator/cuda_runtime.h"

#if defined(__x86_64__) && defined(__ELF__) && !defined(EMULATOR_UCONTEXT)
#define EMULATOR_ASSEMBLY
#else
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {
namespace {

constexpr std::size_t kStack = 256 << 10;
constexpr std::size_t kGuard = 256;  // bytes before each allocation and after shared memory, and what allocations are aligned to
constexpr unsigned char kGuardByte = 0xa5;

struct Stopped {};  // unwinds the other threads of a launch that has failed

bool stopping = false;
std::function<void()> const* body = nullptr;
std::unique_ptr<Context, FreeContext> scheduler;

void run_thread();

}  // namespace

// ---- fibers ----

#ifdef EMULATOR_ASSEMBLY
struct Context {
    void* stack_pointer;
#else
struct Context {
    ucontext_t ucontext;
#endif
    void* bottom;
    std::size_t size;
    void* sanitizer;  // its own stack of this fiber
};
void FreeContext::operator()(Context* context) const { delete context; }

namespace {

#ifdef EMULATOR_ASSEMBLY
// Ten times faster than swapcontext, which asks the kernel for the signal mask each time.
extern "C" void gramian_emulator_switch(void** save, void* load);
__asm__(
    ".text\n.globl gramian_emulator_switch\n.hidden gramian_emulator_switch\n.type gramian_emulator_switch, @function\n"
    "gramian_emulator_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size gramian_emulator_switch, . - gramian_emulator_switch\n");

void prepare(Context& context) {
    // what the switch pops: six registers, then the address of run_thread on a stack aligned as for a call
    void** top = reinterpret_cast<void**>(static_cast<char*>(context.bottom) + context.size) - 2;
    *top = reinterpret_cast<void*>(&run_thread);
    context.stack_pointer = top - 6;
    std::memset(context.stack_pointer, 0, 6 * sizeof(void*));
}
void swap(Context& from, Context& to) { gramian_emulator_switch(&from.stack_pointer, to.stack_pointer); }
#else
void prepare(Context& context) {
    getcontext(&context.ucontext);
    context.ucontext.uc_stack.ss_sp = context.bottom;
    context.ucontext.uc_stack.ss_size = context.size;
    context.ucontext.uc_link = nullptr;
    makecontext(&context.ucontext, run_thread, 0);
}
void swap(Context& from, Context& to) { swapcontext(&from.ucontext, &to.ucontext); }
#endif

void switch_context(Context& from, Context& to, [[maybe_unused]] bool for_good) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(for_good ? nullptr : &from.sanitizer, to.bottom, to.size);
#endif
    swap(from, to);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from.sanitizer, nullptr, nullptr);
#endif
}

/// Stacks are kept for the next launch. The lowest page of each is out of bounds.
std::uint8_t* stack_of(int thread) {
    static std::vector<std::uint8_t*> stacks;
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    while (static_cast<int>(stacks.size()) <= thread) {
        void* memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        mprotect(memory, page, PROT_NONE);
        stacks.push_back(static_cast<std::uint8_t*>(memory));
    }
    return stacks[static_cast<std::size_t>(thread)];
}

void pause() {
    switch_context(*running->context, *scheduler, running->done);
    if (stopping) throw Stopped();
}

void open_if_complete(Barrier& barrier) {
    if (barrier.arrived != barrier.expected) return;
    barrier.arrived = 0;
    ++barrier.generation;
}

void run_thread() {
#ifdef __SANITIZE_ADDRESS__
    const void* bottom;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &scheduler->size);
    scheduler->bottom = const_cast<void*>(bottom);
#endif
    try {
        (*body)();
    } catch (const Stopped&) {
    } catch (...) {
        block->failure = std::current_exception();
    }
    running->done = true;
    --block->live;
    Barrier& all = block->barriers[0];  // __syncthreads waits for those that are left
    if (all.arrived) {
        all.expected = block->live;
        open_if_complete(all);
    }
    for (;;) switch_context(*running->context, *scheduler, true);
}

void resume(Thread& thread) {
    running = &thread;
    threadIdx = {static_cast<unsigned>(thread.index), 0, 0};
    if (!thread.started) {
        thread.started = true;
        thread.context.reset(new Context{{}, stack_of(thread.index), kStack, nullptr});
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(thread.context->bottom, kStack);  // an earlier fiber never left its last frame
#endif
        prepare(*thread.context);
    }
    thread.word = nullptr;
    switch_context(*scheduler, *thread.context, false);
}

std::string name_of_thread() {
    return "block (" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ")" +
           (running ? ", thread " + std::to_string(running->index) : "") + ": ";
}

/// "warp 0: 32 in barrier_wait 0x410"
std::string who_waits_where() {
    std::string text;
    for (std::size_t warp = 0; warp < block->warps.size(); ++warp) {
        std::map<std::string, int> places;
        for (int lane = 0; lane < kLanes; ++lane) {
            const Thread& thread = block->threads[warp * kLanes + static_cast<std::size_t>(lane)];
            ++places[thread.done ? "done" : std::string("in ") + thread.where + " " + hexadecimal(thread.which)];
        }
        text += "\n  warp " + std::to_string(warp) + ":";
        for (const auto& [place, count] : places) text += " " + std::to_string(count) + " " + place + ";";
        text.pop_back();
    }
    return text;
}

bool any_ready() {
    return std::any_of(block->threads.begin(), block->threads.end(), [](const Thread& thread) { return thread.ready(); });
}

/// Lets each warp that is awake run until its threads wait, in random order.
void run_round() {
    auto& random = block->random;
    std::vector<std::size_t> order(block->warps.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t warp : order) {
        const std::uint64_t chance = random();
        const std::size_t first = chance >> 8, step = chance >> 16 | 1;
        if (chance % 4 == 0) continue;
        for (std::size_t i = 0; i < kLanes && block->warps[warp].wakes <= block->round; ++i) {
            Thread& thread = block->threads[warp * kLanes + (first + i * step) % kLanes];
            if (thread.ready()) resume(thread);
            if (block->failure) return;
        }
    }
    running = nullptr;
}

void run_block() {
    auto& random = block->random;
    while (block->live && !block->failure) {
        ++block->round;
        run_round();
        bool stuck = !any_ready();
        while (!block->loads.empty() && (stuck || random() % 3 == 0)) {
            const auto which = static_cast<std::ptrdiff_t>(random() % block->loads.size());
            const Load load = std::move(block->loads[static_cast<std::size_t>(which)]);
            block->loads.erase(block->loads.begin() + which);
            load.run();
            stuck = !any_ready();
        }
        if (stuck && block->live && !block->failure) fail("deadlock; the threads are" + who_waits_where());
    }
}

void stop_threads() {
    stopping = true;
    for (Thread& thread : block->threads)
        if (thread.started && !thread.done) resume(thread);
    stopping = false;
    running = nullptr;
}

void check_end_of_block() {
    if (!block->loads.empty()) fail("the block has ended before its TMA loads");
    for (std::size_t warp = 0; warp < block->warps.size(); ++warp)
        if (block->warps[warp].multiplied != block->warps[warp / 4 * 4].multiplied)
            fail("the warps of a warpgroup have committed different numbers of wgmma groups");
    const std::uint8_t* end = block->shared + block->shared_bytes;
    if (!std::all_of(end, end + kGuard, [](std::uint8_t x) { return x == kGuardByte; }))
        fail("something was written past the end of shared memory");
}

}  // namespace

// ---- what the instructions need ----

std::string hexadecimal(std::uint64_t number) {
    char text[24];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
    return text;
}

void fail(const std::string& what) { throw std::runtime_error("emulator: " + name_of_thread() + what); }

void stall(unsigned times) {
    if (block->random() % times) return;
    block->warps[static_cast<std::size_t>(running->warp())].wakes = block->round + (std::uint64_t{1} << block->random() % 7);
    pause();
}

void wait_while(const std::uint64_t& word, std::uint64_t value, const char* where, std::uint32_t which) {
    running->where = where;
    running->which = which;
    while (word == value) {
        running->word = &word;
        running->value = value;
        pause();
    }
}

void arrive(Barrier& barrier, int expected, const char* where, std::uint32_t which) {
    if (barrier.arrived && barrier.expected != expected)
        fail(std::string(where) + " " + std::to_string(which) + ": " + std::to_string(expected) + " threads expected here and " +
             std::to_string(barrier.expected) + " elsewhere");
    barrier.expected = expected;
    ++barrier.arrived;
    open_if_complete(barrier);
    stall(512);
}

void arrive_and_wait(Barrier& barrier, int expected, const char* where, std::uint32_t which) {
    const std::uint64_t generation = barrier.generation;
    arrive(barrier, expected, where, which);
    wait_while(barrier.generation, generation, where, which);
}

void sync_threads() { arrive_and_wait(block->barriers[0], block->live, "__syncthreads", 0); }

Collective::Slot& exchange(unsigned mask, const Collective::Words& words, const char* where) {
    const int lane = running->lane();
    if (!(mask >> lane & 1)) fail(std::string(where) + ": the mask lacks the lane that calls");
    Collective& all = block->warps[static_cast<std::size_t>(running->warp())].collectives[mask];
    Collective::Slot& slot = all.slots[all.barrier.generation % 2];
    if (all.barrier.arrived == 0) {
        slot.where = where;
        slot.done = false;
    }
    if (slot.where != where && std::strcmp(slot.where, where) != 0)
        fail(std::string("lanes of one warp meet in ") + slot.where + " and " + where);
    slot.lane[static_cast<std::size_t>(lane)] = words;
    arrive_and_wait(all.barrier, __builtin_popcount(mask), where, mask);
    return slot;
}

std::uint8_t* shared_at(std::uint32_t address, std::size_t bytes) {
    if (address < kWindow || address + bytes > kWindow + block->shared_bytes)
        fail("shared address " + hexadecimal(address) + " is out of bounds: " + hexadecimal(kWindow) + " to " +
             hexadecimal(kWindow + block->shared_bytes));
    return block->shared + (address - kWindow);
}

std::size_t shared_memory_limit() {
    switch (settings.capability) {
        case 75: return 64 << 10;
        case 80:
        case 87: return 163 << 10;
        case 86:
        case 89:
        case 120: return 99 << 10;
        default: return 227 << 10;
    }
}

// ---- device memory ----

namespace {

// Each allocation has pages of its own, which nobody may touch but kernels and copies, and ends at a page that nobody may touch
// at all. What is left around it is filled with guards.
struct Allocation {
    std::size_t bytes;
    std::uint8_t *begin, *end;  // of the pages
};
std::map<const void*, Allocation> allocations;
std::size_t allocated = 0;
std::recursive_mutex allocations_mutex;
thread_local cudaError_t last_error = cudaSuccess;
int users = 0;

/// Device memory can be touched while one of these lives.
class Access {
public:
    Access() {
        const std::lock_guard lock(allocations_mutex);
        if (users++ == 0) protect(PROT_READ | PROT_WRITE);
    }
    ~Access() {
        const std::lock_guard lock(allocations_mutex);
        if (--users == 0) protect(PROT_NONE);
    }

private:
    static void protect(int protection) {
        for (const auto& [data, a] : allocations) mprotect(a.begin, static_cast<std::size_t>(a.end - a.begin), protection);
    }
};

std::size_t round_up(std::size_t x, std::size_t to) { return (x + to - 1) / to * to; }

cudaError_t remember(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

bool guards_hold(const void* data, const Allocation& allocation) {
    const auto* start = static_cast<const std::uint8_t*>(data);
    const auto whole = [](const std::uint8_t* from, const std::uint8_t* to) {
        return std::all_of(from, to, [](std::uint8_t x) { return x == kGuardByte; });
    };
    return whole(start - kGuard, start) && whole(start + allocation.bytes, allocation.end);
}

/// No allocation begins at or before `data`, which is the user's, or it has the bytes.
bool fits(const void* data, std::size_t bytes) {
    const std::lock_guard lock(allocations_mutex);
    auto next = allocations.upper_bound(data);
    if (next == allocations.begin()) return true;
    const auto& [start, allocation] = *--next;
    if (data >= allocation.end) return true;
    return static_cast<const char*>(data) + bytes <= static_cast<const char*>(start) + allocation.bytes;
}

}  // namespace

int live_allocations() {
    const std::lock_guard lock(allocations_mutex);
    return static_cast<int>(allocations.size());
}

void check_guards() {
    const std::lock_guard lock(allocations_mutex);
    const Access access;
    for (const auto& [data, allocation] : allocations)
        if (!guards_hold(data, allocation))
            throw std::runtime_error("emulator: something was written before or after an allocation of " +
                                     std::to_string(allocation.bytes) + " bytes");
}

// ---- launches ----

void launch(int grid_x, int grid_y, int threads, std::size_t shared_bytes, const std::function<void()>& kernel) {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    if (grid_x < 1 || grid_y < 1 || grid_y > 65535 || threads < 1 || threads > 1024)
        throw std::runtime_error("emulator: a grid of " + std::to_string(grid_x) + " x " + std::to_string(grid_y) +
                                 " blocks of " + std::to_string(threads) + " threads");
    if (threads % kLanes) throw std::runtime_error("emulator: blocks are of whole warps");
    if (shared_bytes > shared_memory_limit()) throw std::runtime_error("emulator: too much shared memory");

    // aligned exactly as the addresses say, so that code may round up either
    std::vector<std::uint8_t> memory(shared_bytes + kGuard + 2048);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    std::uint8_t* shared = memory.data() + ((kWindow - address) % 1024 + 1024) % 1024;

    gridDim = dim3(static_cast<unsigned>(grid_x), static_cast<unsigned>(grid_y));
    blockDim = dim3(static_cast<unsigned>(threads));
    body = &kernel;
    scheduler.reset(new Context{});
    const Access access;
    Random random{settings.seed};
    std::vector<unsigned> order(gridDim.x * gridDim.y);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random);
    for (const unsigned index : order) {
        Block state{};
        block = &state;
        blockIdx = {index % gridDim.x, index / gridDim.x, 0};
        state.random = {random()};
        state.shared = shared;
        state.shared_bytes = shared_bytes;
        state.live = threads;
        state.threads.resize(static_cast<std::size_t>(threads));
        state.warps.resize(static_cast<std::size_t>(threads / kLanes));
        for (int t = 0; t < threads; ++t) state.threads[static_cast<std::size_t>(t)].index = t;
        std::memset(shared, kRubbish, shared_bytes);
        std::memset(shared + shared_bytes, kGuardByte, kGuard);
        try {
            run_block();
            if (!state.failure) check_end_of_block();
        } catch (...) {
            state.failure = std::current_exception();
        }
        if (state.failure) {
            stop_threads();
            block = nullptr;
            std::rethrow_exception(state.failure);
        }
        block = nullptr;
    }
    check_guards();
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
    const std::lock_guard lock(allocations_mutex);
    *data = nullptr;
    if (bytes == 0) return cudaSuccess;
    if (bytes > settings.memory_limit || allocated > settings.memory_limit - bytes) return remember(cudaErrorMemoryAllocation);
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t whole = round_up(bytes, kGuard), pages = round_up(whole + kGuard, page);
    void* memory = mmap(nullptr, pages + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return remember(cudaErrorMemoryAllocation);
    auto* begin = static_cast<std::uint8_t*>(memory);
    const Allocation allocation{bytes, begin, begin + pages};
    std::uint8_t* start = allocation.end - whole;
    *data = start;
    mprotect(begin, pages, PROT_READ | PROT_WRITE);
    std::memset(begin, kGuardByte, pages);
    std::memset(start, kRubbish, bytes);
    if (users == 0) mprotect(begin, pages, PROT_NONE);
    allocations[start] = allocation;
    allocated += bytes;
    return cudaSuccess;
}

cudaError_t cudaFree(void* data) {
    if (!data) return cudaSuccess;
    const std::lock_guard lock(allocations_mutex);
    const auto found = allocations.find(data);
    if (found == allocations.end()) return remember(cudaErrorInvalidValue);
    const Access access;
    const Allocation allocation = found->second;
    const bool whole = guards_hold(data, allocation);
    allocations.erase(found);
    allocated -= allocation.bytes;
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    munmap(allocation.begin, static_cast<std::size_t>(allocation.end - allocation.begin) + page);
    return whole ? cudaSuccess : remember(cudaErrorIllegalAddress);
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    const std::lock_guard lock(allocations_mutex);
    *total = settings.memory_limit;
    *free = settings.memory_limit - std::min(allocated, settings.memory_limit);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
    if (!fits(to, bytes) || !fits(from, bytes)) return remember(cudaErrorInvalidValue);
    const Access access;
    std::memmove(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                         std::size_t height, cudaMemcpyKind kind) {
    if (width > to_pitch || width > from_pitch) return remember(cudaErrorInvalidValue);
    for (std::size_t row = 0; row < height; ++row) {
        const cudaError_t error =
            cudaMemcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width, kind);
        if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
}

cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
    if (!fits(data, bytes)) return remember(cudaErrorInvalidValue);
    const Access access;
    std::memset(data, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaGetDeviceCount(int* count) {
    *count = settings.capability ? 1 : 0;
    return settings.capability ? cudaSuccess : remember(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : remember(cudaErrorInvalidDevice); }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    if (device != 0) return remember(cudaErrorInvalidDevice);
    switch (attribute) {
        case cudaDevAttrMultiProcessorCount: *value = settings.multiprocessors; break;
        case cudaDevAttrComputeCapabilityMajor: *value = settings.capability / 10; break;
        case cudaDevAttrComputeCapabilityMinor: *value = settings.capability % 10; break;
        case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(shared_memory_limit()); break;
        case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
    }
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (device != 0) return remember(cudaErrorInvalidDevice);
    *properties = {"Emulated GPU",           settings.capability / 10, settings.capability % 10,
                   settings.multiprocessors, settings.memory_limit,    shared_memory_limit()};
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int bytes) {
    return static_cast<std::size_t>(bytes) <= shared_memory_limit() ? cudaSuccess : remember(cudaErrorInvalidValue);
}

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "cudaSuccess";
        case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
        case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
        case cudaErrorNoDevice: return "cudaErrorNoDevice";
        case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
        case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
        case cudaErrorUnknown: break;
    }
    return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorInvalidValue: return "invalid argument";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorInvalidConfiguration: return "invalid configuration argument";
        case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorInvalidDevice: return "invalid device ordinal";
        case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
        case cudaErrorUnknown: break;
    }
    return "unknown error";
}
