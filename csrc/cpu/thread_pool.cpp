#include "cpu/thread_pool.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace gramian {
namespace {

/// CPUs that a cgroup's quota allows, or a large number.
int cgroup_cpus() {
    const auto ceiling = [](double quota, double period) { return std::max(1, static_cast<int>(std::ceil(quota / period))); };
    int least = 1 << 20;
    // v2: the limits of this group and of every parent hold
    std::ifstream self("/proc/self/cgroup");
    std::string line, path;
    while (std::getline(self, line))
        if (line.rfind("0::", 0) == 0) path = line.substr(3);
    for (;; path = path.substr(0, path.rfind('/'))) {
        std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
        std::string quota;
        double period = 0;
        if (file >> quota >> period && quota != "max" && period > 0)
            least = std::min(least, ceiling(std::atof(quota.c_str()), period));
        if (path.empty() || path.rfind('/') == std::string::npos) break;
    }
    std::ifstream quota_v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), period_v1("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    double quota = 0, period = 0;
    if (quota_v1 >> quota && period_v1 >> period && quota > 0 && period > 0) least = std::min(least, ceiling(quota, period));
    return least;
}

struct Job {
    std::int64_t items;
    int threads;
    const std::function<void(int, std::int64_t)>* work;
    std::atomic<std::int64_t> next{0}, done{0};
    std::atomic<bool> stop{false};
    std::exception_ptr error;
    std::mutex error_mutex;

    void run(int thread) {
        for (std::int64_t i; !stop.load(std::memory_order_relaxed) && (i = next.fetch_add(1)) < items;) {
            try {
                (*work)(thread, i);
            } catch (...) {
                const std::lock_guard lock(error_mutex);
                if (!error) error = std::current_exception();
                stop = true;
            }
            done.fetch_add(1);
        }
    }
};

thread_local Job* current_job = nullptr;
thread_local std::function<void()> waiting_tick;
thread_local bool within_tick = false;
thread_local std::uint64_t passed_by = 0;  // the tick of another thread that this one waits for no longer

void call_tick(const std::function<void(std::int64_t)>& tick, std::int64_t done) {
    struct Within {
        const bool before = std::exchange(within_tick, true);
        ~Within() { within_tick = before; }
    } const within;
    if (tick) {
        tick(done);
    } else if (waiting_tick) {
        waiting_tick();
    }
}

class Pool {
public:
    explicit Pool(int threads) : owner_(getpid()) {
        workers_.reserve(static_cast<std::size_t>(threads));
        try {
            for (int t = 0; t < threads; ++t) workers_.emplace_back([this, t] { loop(t); });
        } catch (const std::system_error&) {
            // the system allows no more threads: those that started do the work
        }
    }
    ~Pool() {
        {
            const std::lock_guard lock(mutex_);
            closing_ = true;
        }
        wake_.notify_all();
        for (auto& w : workers_) w.join();
    }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    int size() const { return static_cast<int>(workers_.size()); }
    bool ours() const { return owner_ == getpid(); }

    void run(Job& job, const std::function<void(std::int64_t)>& tick) {
        {
            const std::lock_guard lock(mutex_);
            job_ = &job;
            running_ = job.threads;
            ++generation_;
        }
        wake_.notify_all();
        std::unique_lock lock(mutex_);
        while (!finished_.wait_for(lock, std::chrono::milliseconds(50), [&] { return running_ == 0; })) {
            if (job.stop) continue;
            lock.unlock();
            try {
                tick(std::min(job.done.load(), job.items));
            } catch (...) {
                if (!ours()) throw;
                const std::lock_guard error_lock(job.error_mutex);
                if (!job.error) job.error = std::current_exception();
                job.stop = true;
            }
            // the threads that have begun items are the parent's, and so are all locks
            if (!ours()) throw std::runtime_error("a progress callback has forked: only the parent can go on with its call");
            lock.lock();
        }
        job_ = nullptr;
    }

private:
    void loop(int thread) {
        std::uint64_t seen = 0;
        for (;;) {
            Job* job = nullptr;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [&] { return closing_ || generation_ != seen; });
                if (closing_) return;
                seen = generation_;
                if (job_ && thread < job_->threads) job = job_;
            }
            if (!job) continue;
            current_job = job;
            job->run(thread);
            current_job = nullptr;
            const std::lock_guard lock(mutex_);
            if (--running_ == 0) finished_.notify_all();
        }
    }

    pid_t owner_;
    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_, finished_;
    Job* job_ = nullptr;
    std::uint64_t generation_ = 0;
    int running_ = 0;
    bool closing_ = false;
};

std::atomic<int> chosen_threads{0};

/// One job at a time: callers on several Python threads wait for each other. A forked child must not touch the parent's
/// locks or threads, which it has only as memory: it starts with new ones.
struct State {
    std::mutex mutex;
    std::condition_variable free;
    bool taken = false;
    std::atomic<std::uint64_t> ticks{0};  // begun and ended by whose turn it is: odd within one
    std::unique_ptr<Pool> pool;
    pid_t owner = getpid();
};
std::atomic<State*> state_now{nullptr};

State& state() {
    State* now = state_now.load();
    while (!now || now->owner != getpid()) {
        auto fresh = std::make_unique<State>();
        // the old one is left alone on purpose: joining threads that do not exist here would hang
        if (state_now.compare_exchange_strong(now, fresh.get())) return *fresh.release();
    }
    return *now;
}

class Turn {
public:
    explicit Turn(State& state) : state_(state) {}
    ~Turn() {
        if (!mine_ || state_.owner != getpid()) return;
        {
            const std::lock_guard lock(state_.mutex);
            state_.taken = false;
        }
        state_.free.notify_one();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// False where it may never come: whose turn it is has been within one tick for a while, and that tick, a callback of
    /// a user's, may wait for this very thread.
    bool come(const std::function<void(std::int64_t)>& tick) {
        for (;;) {
            const std::uint64_t seen = state_.ticks;
            const bool passed = seen % 2 && seen == passed_by;
            if (take(std::chrono::milliseconds(passed ? 0 : 50))) return true;
            if (seen % 2 && seen == state_.ticks) {
                passed_by = seen;
                return false;
            }
            call_tick(tick, 0);
            if (state_.owner != getpid()) return false;  // the tick has forked, and this is the child
        }
    }

private:
    bool take(std::chrono::milliseconds patience) {
        std::unique_lock lock(state_.mutex);
        mine_ = state_.free.wait_for(lock, patience, [&] { return !state_.taken; });
        if (mine_) state_.taken = true;
        return mine_;
    }

    State& state_;
    bool mine_ = false;
};

/// On threads of its own, which take a moment to start.
void run_apart(Job& job, const std::function<void(std::int64_t)>& tick) {
    auto pool = std::make_unique<Pool>(job.threads);
    job.threads = std::min(job.threads, pool->size());
    if (job.threads == 0) return job.run(0);
    try {
        pool->run(job, [&](std::int64_t done) { call_tick(tick, done); });
    } catch (...) {
        (void)pool.release();  // a forked child, where there is nothing to join
        throw;
    }
}

}  // namespace

int available_cpus() {
    int cpus = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
#endif
    return std::min(cpus, cgroup_cpus());
}

int pool_threads() {
    if (const int chosen = chosen_threads.load()) return chosen;
    if (const char* text = std::getenv("GRAMIAN_NUM_THREADS"))
        if (const int count = std::atoi(text); count > 0) return std::min(count, 1024);
    return available_cpus();
}

void set_pool_threads(int count) { chosen_threads = count; }

ScopedTick::ScopedTick(std::function<void()> tick) : before_(std::move(waiting_tick)) { waiting_tick = std::move(tick); }
ScopedTick::~ScopedTick() { waiting_tick = std::move(before_); }

bool stop_requested() { return current_job && current_job->stop.load(std::memory_order_relaxed); }

void parallel_for(std::int64_t items, int threads, const std::function<void(int, std::int64_t)>& work,
                  const std::function<void(std::int64_t)>& tick) {
    if (items <= 0) return;
    Job job;
    job.items = items;
    job.work = &work;
    job.threads = static_cast<int>(std::min<std::int64_t>(threads > 0 ? threads : pool_threads(), items));
    State& s = state();
    Turn turn(s);
    if (items == 1) {
        job.run(0);
    } else if (within_tick || !turn.come(tick)) {
        run_apart(job, tick);
    } else {
        if (!s.pool || s.pool->size() < job.threads) {
            s.pool.reset();
            s.pool = std::make_unique<Pool>(job.threads);
            job.threads = std::min(job.threads, s.pool->size());
        }
        if (job.threads == 0) {
            job.run(0);
        } else {
            s.pool->run(job, [&](std::int64_t done) {
                struct Ticking {
                    std::atomic<std::uint64_t>& ticks;
                    explicit Ticking(std::atomic<std::uint64_t>& t) : ticks(t) { ++ticks; }
                    ~Ticking() { ++ticks; }
                } const ticking(s.ticks);
                call_tick(tick, done);
            });
        }
    }
    if (job.error) std::rethrow_exception(job.error);
}

}  // namespace gramian
