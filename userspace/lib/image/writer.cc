// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>

#include <memory>
#include <optional>
#include <utility>

#include "image/atomic_file.h"
#include "image/composer.h"
#include "image/streams.h"
#include "no_throw.h"
#include "sockrepair/image.h"
#include "try.h"

namespace sockrepair {

class ImageWriter::State {
 public:
  // Without a file: to `fd`.
  State(std::optional<internal::AtomicFile> file, int fd)
      : file_(std::move(file)), sink_(file_ ? file_->fd() : fd), composer_(sink_) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Result<void> begin() {
    return step([&] { return composer_.begin(); });
  }

  template <typename Entry>
  Result<void> add(const Entry& entry) {
    return step([&] { return composer_.add(entry); });
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

Result<void> ImageWriter::finish() {
  return state_->finish();
}

}  // namespace sockrepair
