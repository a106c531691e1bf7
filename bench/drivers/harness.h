// Every driver of bench/compare shares this, so that libraries are measured alike: buffers, values, timing loop, check,
// output.  It uses nothing of Tutti.  A driver is a type with
//
//   int rank, size;                                                          known once it is constructed
//   void all_reduce(const float* input, float* output, size_t count);  sums over the ranks; calls harness::fail if it
//   cannot
//   harness::Result result() const;                                          what must be in the output
//
// and a main that constructs it and calls harness::run(driver, settings).  It may have
//
//   void* allocate(size_t bytes);                                            memory for the buffers, or null
//   std::string algorithm() const;  that the last call used; goes into the sample
//
// Method.  Each call takes the next of several buffers; before any buffer is used again all have been rewritten with
// new nonzero values and the ranks have met.  Between two calls only a time stamp is taken.  An iteration lasts as long
// as its slowest rank's; the median over the iterations is the sample.  The first and last iteration of each size are
// checked on every rank, element by element.  Ranks meet, and exchange their times, in a page of shared memory of the
// harness's own, so no library measures itself.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace harness {

enum class Result {
  sum,        // of every rank's input
  same,       // the same bits at every rank: lossy compression
  own,        // this rank's input: a limit, not an all-reduce
  neighbour,  // the input of the rank before: a limit, not an all-reduce
};

[[noreturn]] inline void fail(const std::string& sentence) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, sentence.c_str());
  std::exit(1);
}

struct Settings {
  std::string label;              // how the samples are named
  std::string transport = "shm";  // for drivers that can choose
  std::vector<size_t> sizes{4};   // bytes
  int iterations = 0;             // 0: as many as fit into the budget
  double budget_s = 0.3;          // of one size, rewriting included
  size_t rotate_bytes = 256 << 20;

  static Settings of(int argc, char** argv) {
    Settings settings;
    for (int i = 1; i + 1 < argc; i += 2) {
      const std::string option = argv[i], value = argv[i + 1];
      if (option == "--label")
        settings.label = value;
      else if (option == "--transport")
        settings.transport = value;
      else if (option == "--sizes")
        settings.sizes = numbers(value);
      else if (option == "--iterations")
        settings.iterations = std::atoi(value.c_str());
      else if (option == "--budget")
        settings.budget_s = std::atof(value.c_str());
      else if (option == "--rotate")
        settings.rotate_bytes = numbers(value).at(0);
      else
        fail("there is no option " + option);
    }
    return settings;
  }

 private:
  static std::vector<size_t> numbers(const std::string& text) {
    std::vector<size_t> list;
    for (const char* at = text.c_str(); *at != '\0';) {
      char* end = nullptr;
      list.push_back(std::strtoull(at, &end, 10));
      if (end == at) fail("\"" + text + "\" is not a list of numbers");
      at = *end == ',' ? end + 1 : end;
    }
    return list;
  }
};

inline int environment_number(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) fail(std::string(name) + " is not set; bench/compare sets it");
  return std::atoi(text);
}

inline uint64_t ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

inline double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

inline double ns_per_tick() {
  static const double rate = [] {
    const double start = seconds();
    const uint64_t first = ticks();
    double end = start;
    while (end - start < 0.005) end = seconds();
    return (end - start) * 1e9 / static_cast<double>(ticks() - first);
  }();
  return rate;
}

// ---- the page in which ranks meet ----

inline constexpr int kMostRanks = 64;
inline constexpr int kMostIterations = 2000;

struct Page {  // zero bytes are a valid page
  struct alignas(128) Line {
    std::atomic<uint64_t> value;
  } arrived, generation, ping, pong;
  std::atomic<uint64_t> wrong;
  double numbers[kMostRanks];
  double times_us[kMostRanks][kMostIterations];
};

class Rendezvous {
 public:
  Rendezvous(int rank, int size) : rank_(rank), size_(size) {
    const char* path = std::getenv("COMPARE_PAGE");
    if (path == nullptr || size > kMostRanks) fail("COMPARE_PAGE is not set, or there are more than 64 ranks");
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(Page)) != 0) fail(std::string("the page ") + path + " cannot be opened");
    void* memory = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (memory == MAP_FAILED) fail("the page cannot be mapped");
    page_ = static_cast<Page*>(memory);
  }

  // Bounded, so that no rank outlives a dead one for long.
  void barrier() {
    const uint64_t generation = page_->generation.value.load();
    if (page_->arrived.value.fetch_add(1) + 1 == static_cast<uint64_t>(size_)) {
      page_->arrived.value.store(0);
      page_->generation.value.store(generation + 1);
      return;
    }
    const double deadline = seconds() + 60;
    for (unsigned spins = 0; page_->generation.value.load() == generation; ++spins) {
      if (spins > 100) sched_yield();
      if (spins % 1024 == 1023 && seconds() > deadline) fail("another rank has not come for 60 s");
    }
  }

  // The largest of every rank's numbers.
  double largest(double mine) {
    page_->numbers[rank_] = mine;
    barrier();
    const double result = *std::max_element(page_->numbers, page_->numbers + size_);
    barrier();
    return result;
  }

  bool all_equal(double mine) {
    const double most = largest(mine);
    return -largest(-mine) == most;
  }

  // The round trip of a cache line between ranks 0 and 1 in ns: the median of 25 batches; 0 where ranks must share
  // cores.
  double round_trip() {
    if (size_ < 2 || environment_number("COMPARE_CORES") < size_) return 0;
    std::vector<double> batches;
    const uint64_t base = page_->pong.value.load();
    barrier();
    constexpr uint64_t kTrips = 40, kBatches = 25;
    for (uint64_t trip = base + 1; rank_ < 2 && trip <= base + kTrips * kBatches;) {
      const uint64_t start = ticks();
      for (uint64_t i = 0; i < kTrips; ++i, ++trip) {
        if (rank_ == 0) page_->ping.value.store(trip, std::memory_order_release);
        const auto& other = rank_ == 0 ? page_->pong.value : page_->ping.value;
        for (uint64_t spins = 0; other.load(std::memory_order_acquire) != trip; ++spins)
          if (spins > 1 << 20) sched_yield();
        if (rank_ == 1) page_->pong.value.store(trip, std::memory_order_release);
      }
      batches.push_back(static_cast<double>(ticks() - start) * ns_per_tick() / kTrips);
    }
    barrier();
    if (batches.empty()) return largest(0);
    std::nth_element(batches.begin(), batches.begin() + kBatches / 2, batches.end());
    return largest(rank_ == 0 ? batches[kBatches / 2] : 0);
  }

  Page& page() { return *page_; }

 private:
  int rank_, size_;
  Page* page_;
};

// Cores that share a last-level cache answer in 130 to 300 ns, others in 500 and more; one that something else runs on
// takes far longer.  `before` and `after` are the round trips in ns around a sample.
inline const char* placement(double before, double after) {
  if (before == 0 || after == 0) return "CROWDED";
  const double slower = std::max(before, after), mean = (before + after) / 2;
  if (slower > 2000) return "BUSY";
  if (slower > 1.5 * std::min(before, after)) return "MOVED";
  return mean < 400 ? "SAME" : "CROSS";
}

// ---- values: small integers, so sums are exact in any order ----

inline constexpr size_t kPeriod = 251;  // prime: no block is a multiple of it by accident

inline float contribution(int rank, size_t position, uint64_t turn) {
  uint64_t x = static_cast<uint64_t>(rank) * 0x9e3779b97f4a7c15u + position * 0xbf58476d1ce4e5b9u + turn * 0x94d049bb133111ebu;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return static_cast<float>(1 + (x >> 40) % 8);
}

inline void fill(float* memory, size_t count, int rank, uint64_t turn) {
  float period[kPeriod];
  for (size_t i = 0; i < std::min(count, kPeriod); ++i) period[i] = contribution(rank, i, turn);
  for (size_t done = 0; done < count; done += kPeriod)
    std::memcpy(memory + done, period, std::min(count - done, kPeriod) * sizeof(float));
}

inline uint64_t count_wrong(const float* memory, size_t count, Result expected, int rank, int size, uint64_t turn) {
  float period[kPeriod];
  for (size_t i = 0; i < kPeriod; ++i) {
    period[i] = expected == Result::own ? contribution(rank, i, turn) : 0;
    if (expected == Result::neighbour) period[i] = contribution((rank + size - 1) % size, i, turn);
    for (int r = 0; expected == Result::sum && r < size; ++r) period[i] += contribution(r, i, turn);
  }
  uint64_t wrong = 0;
  for (size_t i = 0; i < count; ++i) wrong += memory[i] != period[i % kPeriod];
  return wrong;
}

// Of the bits; 53 bits, so that a double holds it.
inline double checksum(const float* memory, size_t count) {
  uint64_t sum = count;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, memory + i, sizeof bits);
    sum = (sum ^ bits) * 0x9e3779b97f4a7c15u;
    sum ^= sum >> 29;
  }
  return static_cast<double>(sum >> 11);
}

// ---- the measurement ----

template <class Driver>
class Measurement {
 public:
  Measurement(Driver& driver, const Settings& settings)
      : driver_(driver), settings_(settings), rendezvous_(driver.rank, driver.size) {
    const size_t largest = *std::max_element(settings.sizes.begin(), settings.sizes.end());
    bytes_ = std::max(settings.rotate_bytes, 2 * stride(largest));
    void* memory = nullptr;
    if constexpr (requires { driver.allocate(bytes_); }) memory = driver.allocate(bytes_);
    if (memory == nullptr) memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("there is not enough memory for the buffers");
    memory_ = static_cast<std::byte*>(memory);
  }

  void run_all() {
    for (const size_t size : settings_.sizes) run_size(size);
  }

 private:
  static size_t stride(size_t bytes) {
    const size_t unit = bytes < 8192 ? 128 : 4096;
    return (bytes + unit - 1) / unit * unit;
  }
  float* input(size_t slot, size_t bytes) { return reinterpret_cast<float*>(memory_ + 2 * slot * stride(bytes)); }
  float* output(size_t slot, size_t bytes) { return reinterpret_cast<float*>(memory_ + (2 * slot + 1) * stride(bytes)); }

  // Leaves this rank's times in the page; returns the wrong elements of the first and last iteration.
  uint64_t iterate(size_t bytes, int iterations) {
    const size_t count = bytes / sizeof(float), slots = bytes_ / (2 * stride(bytes));
    uint64_t wrong = 0;
    for (size_t done = 0; done < static_cast<size_t>(iterations);) {
      const size_t pass = std::min(static_cast<size_t>(iterations) - done, slots);
      for (size_t i = 0; i < pass; ++i) {
        fill(input(i, bytes), count, driver_.rank, turn_ + i);
        std::memset(output(i, bytes), 0xA5, count * sizeof(float));
      }
      rendezvous_.barrier();
      uint64_t last = ticks();
      double* times = rendezvous_.page().times_us[driver_.rank] + done;
      for (size_t i = 0; i < pass; ++i) {
        driver_.all_reduce(input(i, bytes), output(i, bytes), count);
        const uint64_t now = ticks();
        times[i] = static_cast<double>(now - last) * ns_per_tick() / 1e3;
        last = now;
      }
      for (size_t i = 0; i < pass; ++i)
        if (done + i == 0 || done + i + 1 == static_cast<size_t>(iterations))
          wrong += count_wrong_output(output(i, bytes), count, i);
      turn_ += pass;
      done += pass;
    }
    return wrong;
  }

  uint64_t count_wrong_output(const float* memory, size_t count, size_t slot) {
    if (driver_.result() == Result::same) return rendezvous_.all_equal(checksum(memory, count)) ? 0 : count;
    return count_wrong(memory, count, driver_.result(), driver_.rank, driver_.size, turn_ + slot);
  }

  double timed(size_t bytes, int iterations) {
    const double start = seconds();
    iterate(bytes, iterations);
    return rendezvous_.largest((seconds() - start) / iterations);
  }

  void run_size(size_t bytes) {
    int iterations = settings_.iterations;
    if (iterations == 0) {
      const double first = timed(bytes, 1);
      const int warm = std::clamp(static_cast<int>(settings_.budget_s / 8 / first), 1, 20);
      // The smaller is less of what else runs here.
      const double each = std::min(timed(bytes, warm), timed(bytes, warm));
      iterations = std::clamp(static_cast<int>(settings_.budget_s / each), bytes <= 1 << 20 ? 25 : 5, kMostIterations);
    } else {
      timed(bytes, 2);
    }
    const double before = rendezvous_.round_trip();
    rendezvous_.page().wrong += iterate(bytes, iterations);
    rendezvous_.barrier();
    const double after = rendezvous_.round_trip();
    if (driver_.rank == 0) print(bytes, iterations, before, after);
    rendezvous_.barrier();
    if (driver_.rank == 0) rendezvous_.page().wrong = 0;
  }

  void print(size_t bytes, int iterations, double before, double after) {
    Page& page = rendezvous_.page();
    std::vector<double> times(static_cast<size_t>(iterations));
    for (int r = 0; r < driver_.size; ++r)
      for (size_t i = 0; i < times.size(); ++i) times[i] = std::max(times[i], page.times_us[r][i]);
    std::sort(times.begin(), times.end());
    std::string algorithm;
    if constexpr (requires { driver_.algorithm(); }) algorithm = driver_.algorithm();
    std::printf(
        "{\"lib\": \"%s\", \"transport\": \"%s\", \"ranks\": %d, \"bytes\": %zu, \"iterations\": %d, \"p50_us\": %.4f, "
        "\"min_us\": %.4f, \"p90_us\": %.4f, \"wrong\": %llu, \"placement\": \"%s\", \"round_trip_ns\": [%.0f, %.0f], "
        "\"algorithm\": \"%s\"}\n",
        settings_.label.c_str(), settings_.transport.c_str(), driver_.size, bytes, iterations, times[times.size() / 2],
        times.front(), times[times.size() * 9 / 10], static_cast<unsigned long long>(page.wrong.load()), placement(before, after),
        before, after, algorithm.c_str());
    std::fflush(stdout);
  }

  Driver& driver_;
  const Settings& settings_;
  Rendezvous rendezvous_;
  std::byte* memory_ = nullptr;  // until the process ends
  size_t bytes_ = 0;
  uint64_t turn_ = 0;  // every iteration has other values
};

template <class Driver>
void run(Driver& driver, const Settings& settings) {
  Measurement<Driver>(driver, settings).run_all();
}

}  // namespace harness
