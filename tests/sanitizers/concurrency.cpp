// Several threads sweep at once, by every statistic, with callbacks that sweep, wait for others and throw, while another
// thread changes the size of the pool. Every result has the bits of a sweep that ran alone; what else may be wrong is for
// the sanitizer to say.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/sweep.hpp"
#include "cpu/thread_pool.hpp"

namespace {

using namespace gramian;

constexpr std::int64_t kRows = 700, kFeatures = 9, kColumns = 3, kNearest = 5;
constexpr Statistic kStatistics[] = {Statistic::moments, Statistic::star, Statistic::products, Statistic::matmul,
                                     Statistic::topk};

template <class T>
std::vector<T> normal(std::int64_t count, unsigned seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> value(1, 2);
    std::vector<T> out(static_cast<std::size_t>(count));
    for (T& x : out) x = static_cast<T>(value(random));
    return out;
}

template <class T>
struct Data {
    std::vector<T> x = normal<T>(kRows * kFeatures, 1), y = normal<T>(kRows * kFeatures, 2);
    std::vector<double> vectors = normal<double>(kRows * kColumns, 3);

    static Representation represented(const std::vector<T>& values, KernelKind kind) {
        Representation r;
        r.rows.part[0] = {values.data(), kRows, kFeatures, kFeatures, 1, sizeof(T) == 8 ? DType::f64 : DType::f32};
        r.rows.n = kRows;
        r.rows.d = kFeatures;
        r.kernel = {kind, {3.0, 1.0, 0.0}};
        return r;
    }

    SweepArgs arguments(Statistic statistic, KernelKind kind) const {
        const bool one = statistic == Statistic::matmul || statistic == Statistic::topk;
        SweepArgs args;
        args.x.push_back(represented(x, kind));
        if (!one) args.x.push_back(represented(y, kind));
        args.statistic = statistic;
        if (statistic == Statistic::matmul) args.vectors = vectors.data(), args.columns = kColumns;
        if (statistic == Statistic::topk) args.neighbors = kNearest;
        return args;
    }
};

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

bool same(const SweepResult& a, const SweepResult& b) {
    return same(a.pairs, b.pairs) && same(a.squares, b.squares) && same(a.rows, b.rows) && same(a.index, b.index) &&
           same(a.similarity, b.similarity) && std::memcmp(&a.difference, &b.difference, sizeof a.difference) == 0;
}

void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "concurrency: %s\n", what);
    std::abort();
}

template <class T>
class Callers {
public:
    Callers() {
        for (const KernelKind kind : {KernelKind::RBF, KernelKind::Laplacian, KernelKind::Linear})
            for (const Statistic statistic : kStatistics) {
                args_.push_back(data_.arguments(statistic, kind));
                args_.back().threads = 1;
                want_.push_back(sweep_cpu(args_.back()));
            }
    }

    /// Every sweep, from another one on for every caller, by another number of threads.
    void sweep_all(std::size_t caller) const {
        for (std::size_t i = 0; i < args_.size(); ++i) {
            const std::size_t at = (i + 4 * caller) % args_.size();
            SweepArgs args = args_[at];
            args.threads = static_cast<int>((i + caller) % 4);
            require(same(sweep_cpu(args), want_[at]), "other bits than alone");
        }
    }

    /// A sweep in a callback, on the thread that sweeps already and on another one that it waits for.
    void sweep_within_callbacks() const {
        SweepArgs args = args_[0];
        args.threads = 2;
        std::atomic<int> calls{0};
        const auto nested = [&] {
            parallel_for(2, 2, [](int, std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); });
            require(same(sweep_cpu(args), want_[0]), "other bits within a callback");
        };
        parallel_for(
            2, 2, [](int, std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(200)); },
            [&](std::int64_t) {
                if (++calls > 1) return;
                nested();
                std::thread(nested).join();
            });
        require(calls > 0, "no callback");
    }

    void stop_in_callbacks() const {
        for (int i = 0; i < 3; ++i) {
            bool stopped = false;
            try {
                parallel_for(
                    40, 2, [](int, std::int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(10)); },
                    [](std::int64_t) { throw std::runtime_error("enough"); });
            } catch (const std::runtime_error&) {
                stopped = true;
            }
            require(stopped, "an exception was lost");
        }
    }

private:
    Data<T> data_;
    std::vector<SweepArgs> args_;
    std::vector<SweepResult> want_;
};

template <class T>
void run() {
    const Callers<T> callers;
    std::atomic<bool> over{false};
    std::thread chooser([&] {
        for (int i = 0; !over; ++i) {
            set_pool_threads(1 + i % 5);
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    });
    std::vector<std::thread> threads;
    for (std::size_t caller = 0; caller < 4; ++caller) threads.emplace_back([&, caller] { callers.sweep_all(caller); });
    threads.emplace_back([&] { callers.sweep_within_callbacks(); });
    threads.emplace_back([&] { callers.stop_in_callbacks(); });
    for (auto& thread : threads) thread.join();
    over = true;
    chooser.join();
    set_pool_threads(0);
}

}  // namespace

int main() {
    run<float>();
    run<double>();
    std::puts("same bits from all callers");
}
