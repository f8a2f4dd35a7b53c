// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "image/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "try.h"

namespace sockrepair::internal {

namespace {

constexpr std::size_t kBufferSize = 1U << 16;

Result<void> write_all(int fd, std::span<const std::uint8_t> from) {
  while (!from.empty()) {
    ssize_t written = ::write(fd, from.data(), from.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return Error{errno, "write(" + std::to_string(fd) + ", " + std::to_string(from.size()) +
                              " bytes of an image)"};
    }
    from = from.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<void> FdSink::write(std::span<const std::uint8_t> from) {
  if (buffer_.size() + from.size() > kBufferSize) SOCKREPAIR_TRY(flush());
  if (from.size() >= kBufferSize) return write_all(fd_, from);
  buffer_.insert(buffer_.end(), from.begin(), from.end());
  return {};
}

Result<void> FdSink::flush() {
  SOCKREPAIR_TRY(write_all(fd_, buffer_));
  buffer_.clear();
  return {};
}

Result<std::size_t> FileSource::read(std::span<std::uint8_t> to) {
  std::size_t done = 0;
  while (done < to.size()) {
    if (used_ == buffer_.size()) {
      buffer_.resize(kBufferSize);
      used_ = 0;
      ssize_t got = ::pread(fd_, buffer_.data(), buffer_.size(), static_cast<off_t>(offset_));
      int code = errno;
      buffer_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
      if (got < 0 && code == EINTR) continue;
      if (got < 0) {
        return Error{code, "pread(" + std::to_string(fd_) + ", an image, offset " +
                               std::to_string(offset_) + ")"};
      }
      if (got == 0) break;
      offset_ += static_cast<std::uint64_t>(got);
    }
    std::size_t count = std::min(to.size() - done, buffer_.size() - used_);
    memcpy(to.data() + done, buffer_.data() + used_, count);
    done += count;
    used_ += count;
  }
  return done;
}

Result<std::size_t> CopyingSource::read(std::span<std::uint8_t> to) {
  std::size_t done = 0;
  while (done < to.size()) {
    ssize_t got = ::read(fd_, to.data() + done, to.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error{errno, "read(" + std::to_string(fd_) + ", an image)"};
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  SOCKREPAIR_TRY(copy_->write(to.first(done)));
  return done;
}

Result<Fd> open_unnamed_file() {
  const char* chosen = secure_getenv("TMPDIR");
  Error first{ENOENT, {}};
  for (const char* directory : {chosen, "/var/tmp", "/tmp"}) {
    if (directory == nullptr || *directory == '\0') continue;
    Fd fd(::open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd) return fd;
    if (first.what.empty())
      first = Error{errno, std::string("open(\"") + directory + "\", O_TMPFILE)"};
  }
  return first;
}

}  // namespace sockrepair::internal
