// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "try.h"

namespace sockrepair::internal {

namespace {

constexpr int kNameAttempts = 100;

std::string quoted(const std::string& path) {
  return "\"" + path + "\"";
}

Error failed(const std::string& call) {
  return Error{errno, call};
}

// ".NAME.1a2b3c"
std::string temporary_name(const std::string& name) {
  uint32_t random = 0;
  // Cannot be cut short or interrupted for so few bytes.
  (void)::getrandom(&random, sizeof(random), 0);
  char suffix[16];
  snprintf(suffix, sizeof(suffix), ".%06x", random & 0xffffff);
  // Leaves room for the suffix in the longest name there can be.
  return "." + name.substr(0, NAME_MAX - sizeof(suffix)) + suffix;
}

// Where `path` leads to, which may not exist yet.
Result<std::string> resolve(const std::string& path) {
  if (char* resolved = ::realpath(path.c_str(), nullptr)) {
    std::string result = resolved;
    ::free(resolved);
    return result;
  }
  struct stat status {};
  if (errno != ENOENT || ::lstat(path.c_str(), &status) == 0)
    return failed("realpath(" + quoted(path) + ")");
  return path;
}

}  // namespace

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : directory_(std::move(other.directory_)),
      file_(std::move(other.file_)),
      name_(std::move(other.name_)),
      temporary_(std::exchange(other.temporary_, {})) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this == &other) return *this;
  discard();
  directory_ = std::move(other.directory_);
  file_ = std::move(other.file_);
  name_ = std::move(other.name_);
  temporary_ = std::exchange(other.temporary_, {});
  return *this;
}

AtomicFile::~AtomicFile() {
  discard();
}

void AtomicFile::discard() {
  int code = errno;
  if (!temporary_.empty()) (void)::unlinkat(directory_.get(), temporary_.c_str(), 0);
  temporary_.clear();
  errno = code;
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  AtomicFile result;
  struct stat status {};
  const bool there = ::stat(path.c_str(), &status) == 0;
  // A symbolic link that the kernel does not let this process follow (fs.protected_symlinks) is not
  // to be followed by other means.
  if (!there && errno != ENOENT) return failed("stat(" + quoted(path) + ")");
  if (there && !S_ISREG(status.st_mode)) {
    result.file_ = Fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!result.file_) return failed("open(" + quoted(path) + ", O_WRONLY)");
    return result;
  }

  SOCKREPAIR_TRY_ASSIGN(std::string target, resolve(path));
  std::size_t slash = target.rfind('/');
  result.name_ = slash == std::string::npos ? target : target.substr(slash + 1);
  if (result.name_.empty()) return Error{ENOENT, "image " + quoted(path) + ": names no file"};
  std::string directory = slash == std::string::npos ? "." : target.substr(0, slash + 1);
  result.directory_ = Fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!result.directory_) return failed("open(" + quoted(directory) + ", O_DIRECTORY)");
  SOCKREPAIR_TRY(result.open_temporary());
  if (::fchmod(result.fd(), 0600) != 0) return failed("fchmod(" + quoted(path) + ", 0600)");
  return result;
}

Result<void> AtomicFile::open_temporary() {
  file_ = Fd(::openat(directory_.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (file_) return {};
  // EISDIR from kernels, EOPNOTSUPP from file systems that do not know O_TMPFILE.
  if (errno != EOPNOTSUPP && errno != EISDIR)
    return failed("open(directory of " + quoted(name_) + ", O_TMPFILE)");

  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    std::string name = temporary_name(name_);
    file_ =
        Fd(::openat(directory_.get(), name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
    if (file_) {
      temporary_ = name;
      return {};
    }
    if (errno != EEXIST) return failed("open(" + quoted(name) + ", O_CREAT)");
  }
  return Error{EEXIST, "temporary file for " + quoted(name_)};
}

Result<void> AtomicFile::name_temporary() {
  std::string unnamed = "/proc/self/fd/" + std::to_string(fd());
  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    std::string name = temporary_name(name_);
    if (::linkat(AT_FDCWD, unnamed.c_str(), directory_.get(), name.c_str(), AT_SYMLINK_FOLLOW) ==
        0) {
      temporary_ = name;
      return {};
    }
    if (errno != EEXIST) return failed("linkat(" + quoted(name) + ")");
  }
  return Error{EEXIST, "temporary file for " + quoted(name_)};
}

Result<void> AtomicFile::commit() {
  if (!directory_) return {};
  if (::fsync(fd()) != 0) return failed("fsync(" + quoted(name_) + ")");
  if (temporary_.empty()) SOCKREPAIR_TRY(name_temporary());
  if (::renameat(directory_.get(), temporary_.c_str(), directory_.get(), name_.c_str()) != 0)
    return failed("rename(" + quoted(temporary_) + ", " + quoted(name_) + ")");
  temporary_.clear();
  // EINVAL: a file system that has nothing to sync.
  if (::fsync(directory_.get()) != 0 && errno != EINVAL)
    return failed("fsync(directory of " + quoted(name_) + ")");
  return {};
}

}  // namespace sockrepair::internal
