// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "image/atomic_file.h"
#include "image/composer.h"
#include "image/streams.h"
#include "no_throw.h"
#include "sockrepair/image.h"
#include "try.h"

namespace sockrepair {

namespace {

Result<void> check_secrets(int, const TcpTimeWait&) {
  return {};
}
Result<void> check_secrets(int, const ImageProcess&) {
  return {};
}

// Keys go where nobody else reads them: what has a name has to be its owner's alone.
Result<void> check_secrets(int fd, const ImageSocket& entry) {
  const auto* tcp = std::get_if<TcpSocket>(&entry.socket);
  if (tcp == nullptr || !tcp->ao || tcp->ao->keys.empty()) return {};
  struct stat status {};
  if (::fstat(fd, &status) != 0) return Error{errno, "fstat(" + std::to_string(fd) + ")"};
  if (!S_ISREG(status.st_mode) || status.st_nlink == 0) return {};
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
  char mode[8];
  snprintf(mode, sizeof(mode), "%04o", status.st_mode & 07777);
  return Error{EACCES, std::string("TcpSocketEntry: ao: has keys, and the file is of mode ") +
                           mode + ", must be 0600"};
}

}  // namespace

class ImageWriter::State {
 public:
  // Without a file: to `fd`.
  State(std::optional<internal::AtomicFile> file, int fd)
      : file_(std::move(file)), fd_(file_ ? file_->fd() : fd), sink_(fd_), composer_(sink_) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Result<void> begin() {
    return step([&] { return composer_.begin(); });
  }

  template <typename Entry>
  Result<void> add(const Entry& entry) {
    return step([&]() -> Result<void> {
      SOCKREPAIR_TRY(check_secrets(fd_, entry));
      return composer_.add(entry);
    });
  }

  Result<void> finish() {
    return step([&]() -> Result<void> {
      SOCKREPAIR_TRY(composer_.end());
      SOCKREPAIR_TRY(sink_.flush());
      if (file_) SOCKREPAIR_TRY(file_->commit());
      finished_ = true;
      return {};
    });
  }

 private:
  // Nothing is written after an error, nor after the end.
  template <typename Function>
  Result<void> step(Function&& function) {
    return internal::no_throw([&]() -> Result<void> {
      if (finished_) return Error{EALREADY, "image: is complete"};
      if (failed_) return Error{ECANCELED, "image: an earlier error ended it"};
      failed_ = true;
      SOCKREPAIR_TRY(function());
      failed_ = false;
      return {};
    });
  }

  std::optional<internal::AtomicFile> file_;
  int fd_;
  internal::FdSink sink_;
  internal::ImageComposer composer_;
  bool failed_ = false;
  bool finished_ = false;
};

ImageWriter::ImageWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ImageWriter::ImageWriter(ImageWriter&&) noexcept = default;
ImageWriter& ImageWriter::operator=(ImageWriter&&) noexcept = default;
ImageWriter::~ImageWriter() = default;

Result<ImageWriter> ImageWriter::create(const std::string& path) {
  return internal::no_throw([&]() -> Result<ImageWriter> {
    SOCKREPAIR_TRY_ASSIGN(internal::AtomicFile file, internal::AtomicFile::create(path));
    auto state = std::make_unique<State>(std::move(file), -1);
    SOCKREPAIR_TRY(state->begin());
    return ImageWriter(std::move(state));
  });
}

Result<ImageWriter> ImageWriter::to_descriptor(int fd) {
  return internal::no_throw([&]() -> Result<ImageWriter> {
    auto state = std::make_unique<State>(std::nullopt, fd);
    SOCKREPAIR_TRY(state->begin());
    return ImageWriter(std::move(state));
  });
}

Result<void> ImageWriter::add(const ImageProcess& process) {
  return state_->add(process);
}

Result<void> ImageWriter::add(const ImageSocket& socket) {
  return state_->add(socket);
}

Result<void> ImageWriter::add(const TcpTimeWait& connection) {
  return state_->add(connection);
}

Result<void> ImageWriter::finish() {
  return state_->finish();
}

}  // namespace sockrepair
