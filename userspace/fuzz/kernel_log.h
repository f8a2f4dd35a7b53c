// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_FUZZ_KERNEL_LOG_H_
#define SOCKREPAIR_FUZZ_KERNEL_LOG_H_

#include <mutex>
#include <string>
#include <string_view>

namespace sockrepair::fuzz {

// What the kernel says from now on. Any thread may ask.
class KernelLog {
 public:
  KernelLog();
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;
  ~KernelLog();

  bool readable() const { return fd_ >= 0; }

  // The first line since the last call that a healthy kernel does not write; empty if there is
  // none. scripts/splat-patterns.txt judges the whole log when the guest has ended; this is to
  // name the case.
  std::string splat();

 private:
  std::mutex mutex_;
  int fd_;
};

// Whether a line of the log is one that a healthy kernel does not write.
bool is_splat(std::string_view line);

}  // namespace sockrepair::fuzz

#endif  // SOCKREPAIR_FUZZ_KERNEL_LOG_H_
