#pragma once
#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

// A GPU for tests: the engine's own sources, compiled by the host's compiler, run here. Each CUDA thread is a fiber. Blocks
// run one after another; within a block the seed decides which warps stall. Asynchronous copies and multiplications take
// effect when the seed says so, most often as late as the rules allow, and all memory begins as rubbish: a missing wait, a
// stage released too early, a wrong phase or a deadlock becomes a wrong number or an exception.
//
// What it cannot see: races that need a weaker memory than the host's, missing proxy fences, bank conflicts, occupancy, time.
namespace emulator {

struct Settings {
    std::uint64_t seed = 0;
    int capability = 90;  // 10 major + minor; 0: there is no device
    int multiprocessors = 2;
    std::size_t memory_limit = std::size_t{2} << 30;
};
inline Settings settings;

/// SplitMix64: emulated threads ask for a number at every copy.
struct Random {
    using result_type = std::uint64_t;
    std::uint64_t state;
    static constexpr std::uint64_t min() { return 0; }
    static constexpr std::uint64_t max() { return std::numeric_limits<std::uint64_t>::max(); }
    std::uint64_t operator()() {
        std::uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
    }
};

constexpr int kLanes = 32;
constexpr unsigned kAllLanes = 0xffffffff;
constexpr std::uint32_t kWindow = 0x400 + 16;  // where shared addresses begin: no more aligned than CUDA promises
constexpr unsigned char kRubbish = 0xcd;

/// A meeting point of a known number of threads.
struct Barrier {
    int arrived = 0, expected = 0;
    std::uint64_t generation = 0;
};

/// mbarrier: a phase ends when `count` threads and all announced bytes have arrived.
struct MemoryBarrier {
    int count, pending;
    std::int64_t bytes;
    std::uint64_t phase;
    bool fenced;
};

/// What the lanes of a mask show each other, twice, so that a fast lane may be one exchange ahead of a slow one.
struct Collective {
    using Words = std::array<std::uint32_t, 8>;
    struct Slot {
        std::array<Words, kLanes> lane;
        const char* where;
        bool done;  // whoever leaves first has computed for all
    };
    Barrier barrier;
    Slot slots[2];
};

/// Asynchronous work of one thread: collected, committed in groups, finished group by group.
template <class Work>
struct Groups {
    std::vector<Work> open;
    std::vector<std::vector<Work>> committed;
    std::uint64_t count = 0;  // of all that were ever committed
    void commit() {
        committed.push_back(std::exchange(open, {}));
        ++count;
    }
};

struct Copy {
    std::uint32_t to;
    const void* from;
    int bytes;
};
struct Multiply {
    float* d;
    std::uint64_t a, b;
    bool bf16, accumulate;
};
struct Load {
    std::uint32_t to, bar;
    std::function<void()> run;
};

struct Context;  // of a fiber: where it goes on
struct FreeContext {
    void operator()(Context* context) const;
};

struct Thread {
    int index = 0;
    bool started = false, done = false;
    std::unique_ptr<Context, FreeContext> context;
    // runs again once *word differs from value
    const std::uint64_t* word = nullptr;
    std::uint64_t value = 0;
    const char* where = "";
    std::uint32_t which = 0;
    Groups<Copy> copies;
    Groups<Multiply> multiplies;
    bool wgmma_fenced = false;

    int lane() const { return index % kLanes; }
    int warp() const { return index / kLanes; }
    bool ready() const { return !done && (!word || *word != value); }
};

struct Warp {
    std::map<unsigned, Collective> collectives;  // by the mask of lanes
    int multiplied = 0;                          // groups of wgmma
    std::uint64_t wakes = 0;                     // round in which it goes on
};

struct Block {
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::array<Barrier, 16> barriers;
    std::map<std::uint32_t, MemoryBarrier> memory_barriers;  // by address
    std::vector<Load> loads;                                 // under way
    Random random;
    std::uint8_t* shared;
    std::size_t shared_bytes;
    std::uint64_t round;
    int live;  // threads that have not returned
    std::exception_ptr failure;
};
inline Block* block = nullptr;
inline Thread* running = nullptr;

/// Ends the launch: launch() throws std::runtime_error with the block, the thread and this.
[[noreturn]] void fail(const std::string& what);
std::string hexadecimal(std::uint64_t number);

/// A place where the running thread's warp may lose its turn, one time in `times`, and for how long varies widely.
void stall(unsigned times);

/// Stops the running thread until word is no longer value.
void wait_while(const std::uint64_t& word, std::uint64_t value, const char* where, std::uint32_t which);

/// The running thread counts at the barrier; the last one opens it.
void arrive(Barrier& barrier, int expected, const char* where, std::uint32_t which);
void arrive_and_wait(Barrier& barrier, int expected, const char* where, std::uint32_t which);
void sync_threads();

/// Waits for the lanes of a mask and gives what each of them showed.
Collective::Slot& exchange(unsigned mask, const Collective::Words& words, const char* where);

/// Shared memory as the host sees it.
std::uint8_t* shared_at(std::uint32_t address, std::size_t bytes);

/// Runs a kernel to its end, one launch at a time in the process.
void launch(int grid_x, int grid_y, int threads, std::size_t shared_bytes, const std::function<void()>& kernel);

// Device memory is the host's, but only kernels and copies can touch it: a host that reads it crashes.
int live_allocations();
/// Throws if something was written before or after an allocation.
void check_guards();
std::size_t shared_memory_limit();

}  // namespace emulator
