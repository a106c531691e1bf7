// Feeds a fuzz target without libFuzzer:  replay <inputs> <corpus directory> First every file of the corpus as it is,
// then <inputs> inputs that are mutations of them or random bytes.  The same inputs every time.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

using Bytes = std::vector<uint8_t>;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t kLongest = 8192;

std::vector<Bytes> read_corpus(const char* directory) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> corpus;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return corpus;
}

class Mutator {
 public:
  explicit Mutator(const std::vector<Bytes>& corpus) : corpus_(corpus) {}

  Bytes next() {
    Bytes input;
    if (corpus_.empty() || below(8) == 0) {
      input.resize(below(64));
      for (uint8_t& byte : input) byte = static_cast<uint8_t>(below(256));
    } else {
      input = seed();
    }
    for (size_t changes = 1 + below(4); changes > 0; --changes) change(input);
    input.resize(std::min(input.size(), kLongest));
    return input;
  }

 private:
  size_t below(size_t n) { return random_() % n; }
  const Bytes& seed() { return corpus_[below(corpus_.size())]; }
  static Bytes::iterator at(Bytes& input, size_t place) { return input.begin() + static_cast<std::ptrdiff_t>(place); }

  void change(Bytes& input) {
    const size_t place = below(input.size() + 1);
    const size_t run = std::min(input.size() - place, 1 + below(8));
    switch (below(6)) {
      case 0:  // another byte
        if (run > 0) input[place] = static_cast<uint8_t>(below(256));
        break;
      case 1:  // one bit
        if (run > 0) input[place] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 2:  // a byte more, often one that the inputs know
        input.insert(at(input, place), corpus_.empty() || seed().empty() ? static_cast<uint8_t>(below(256)) : known_byte());
        break;
      case 3:  // some bytes less
        input.erase(at(input, place), at(input, place + run));
        break;
      case 4: {  // some bytes twice
        const Bytes part(at(input, place), at(input, place + run));
        input.insert(at(input, place), part.begin(), part.end());
        break;
      }
      default:  // the end of another input
        if (corpus_.empty()) break;
        Bytes other = seed();
        input.resize(place);
        input.insert(input.end(), at(other, below(other.size() + 1)), other.end());
    }
  }

  uint8_t known_byte() {
    const Bytes& bytes = seed();
    return bytes.empty() ? uint8_t{0} : bytes[below(bytes.size())];
  }

  const std::vector<Bytes>& corpus_;
  std::mt19937_64 random_{1};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s <inputs> <corpus directory>\n", argv[0]);
    return 2;
  }
  const std::vector<Bytes> corpus = read_corpus(argv[2]);
  for (const Bytes& input : corpus) LLVMFuzzerTestOneInput(input.data(), input.size());
  Mutator mutator(corpus);
  const long inputs = std::atol(argv[1]);
  for (long i = 0; i < inputs; ++i) {
    const Bytes input = mutator.next();
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu seeds, %ld further inputs\n", corpus.size(), inputs);
  return 0;
}
