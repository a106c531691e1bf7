// Distinguishes a process from its forked child without asking the kernel each time: the child sees this page wiped.
#pragma once

#include <sys/mman.h>

namespace tutti {

class ForkGuard {
 public:
  ForkGuard() : page_(::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (page_ == MAP_FAILED) return;
    if (::madvise(page_, kPage, MADV_WIPEONFORK) == 0)
      *static_cast<volatile char*>(page_) = 1;
    else
      unmap();
  }
  ~ForkGuard() { unmap(); }
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

  // False where the system cannot tell (Linux before 4.14).
  bool in_child() const { return page_ != MAP_FAILED && *static_cast<volatile const char*>(page_) == 0; }

 private:
  static constexpr unsigned long kPage = 4096;
  void unmap() {
    if (page_ != MAP_FAILED) ::munmap(page_, kPage);
    page_ = MAP_FAILED;
  }
  void* page_;
};

}  // namespace tutti
