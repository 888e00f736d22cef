#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>

namespace gramian {

/// CPUs that this process may use: its affinity mask, cut down by the cgroup's CPU quota.
int available_cpus();

/// Threads of the pool: set_threads, else GRAMIAN_NUM_THREADS, else available_cpus().
int pool_threads();
void set_pool_threads(int count);  // 0: back to the default

/// Runs work(thread, item) for every item on the pool and waits. `tick`, or else the calling thread's ScopedTick, is called
/// on the calling thread about twenty times a second with the number of items done; if it or an item throws, the rest is
/// dropped and the exception passed on. The pool starts at first use and again after a fork. One caller has it at a time;
/// calls from within a tick, and calls of other threads while a tick lasts, which may wait for them, get threads of their
/// own.
void parallel_for(std::int64_t items, int threads, const std::function<void(int thread, std::int64_t item)>& work,
                  const std::function<void(std::int64_t done)>& tick = {});

/// f(begin, end) for runs of some hundred items.
template <class F>
void over_runs(std::int64_t items, int threads, F&& f) {
    constexpr std::int64_t run = 512;
    parallel_for((items + run - 1) / run, threads,
                 [&](int, std::int64_t part) { f(part * run, std::min(items, (part + 1) * run)); });
}

/// f(i) for every row.
template <class F>
void over_rows(std::int64_t n, int threads, F&& f) {
    over_runs(n, threads, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) f(i);
    });
}

/// What parallel_for calls while it waits, on this thread, for as long as this lives.
class ScopedTick {
public:
    explicit ScopedTick(std::function<void()> tick);
    ~ScopedTick();
    ScopedTick(const ScopedTick&) = delete;
    ScopedTick& operator=(const ScopedTick&) = delete;

private:
    std::function<void()> before_;
};

/// True once the running parallel_for has been told to stop; long items ask now and then.
bool stop_requested();

}  // namespace gramian
