// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "image/parser.h"
#include "image/streams.h"
#include "no_throw.h"
#include "sockrepair/image.h"
#include "try.h"

namespace sockrepair {

class ImageReader::State {
 public:
  // Of a regular file that was not looked at yet.
  State(Fd file, const ImageReaderOptions& options)
      : file_(std::move(file)), keeps_(options.keep_bytes != 0), keep_bytes_(options.keep_bytes) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // What is in `source`, which gives the bytes of the file, or puts them there.
  Result<void> check(internal::ByteSource& source) {
    internal::ImageParser parser(source);
    SOCKREPAIR_TRY(parser.begin());
    for (;;) {
      std::optional<ImageEntry> entry;
      SOCKREPAIR_TRY(parser.next(&entry));
      if (!entry) break;
      keep(*std::move(entry), parser.summary().bytes);
    }
    summary_ = parser.summary();
    checksum_ = parser.checksum();
    return {};
  }

  Result<void> check() {
    internal::FileSource source(file_.get());
    return check(source);
  }

  Result<void> copy_and_check(int fd) {
    internal::FdSink copy(file_.get());
    internal::CopyingSource source(fd, copy);
    SOCKREPAIR_TRY(check(source));
    return copy.flush();
  }

  const ImageSummary& summary() const { return summary_; }

  Result<std::optional<ImageEntry>> next() {
    if (keeps_) {
      if (at_ == kept_.size()) return std::optional<ImageEntry>();
      return std::optional<ImageEntry>(kept_[at_++]);
    }
    if (pass_ == nullptr) pass_ = std::make_unique<Pass>(file_.get());
    if (pass_->failed) return Error{ECANCELED, "image: an earlier error ended reading it"};
    pass_->failed = true;
    std::optional<ImageEntry> entry;
    if (pass_->parser.summary().records == 0) SOCKREPAIR_TRY(pass_->parser.begin());
    SOCKREPAIR_TRY(pass_->parser.next(&entry));
    if (!entry && pass_->parser.checksum() != checksum_) {
      return Error{EBADMSG,
                   "image: is not the one that was checked, the file was changed meanwhile"};
    }
    pass_->failed = false;
    return entry;
  }

  void rewind() {
    pass_.reset();
    at_ = 0;
  }

 private:
  // `bytes` were read so far.
  void keep(ImageEntry entry, std::uint64_t bytes) {
    if (!keeps_) return;
    keeps_ = bytes <= keep_bytes_;
    if (keeps_)
      kept_.push_back(std::move(entry));
    else
      std::vector<ImageEntry>().swap(kept_);
  }

  struct Pass {
    explicit Pass(int fd) : source(fd), parser(source) {}
    internal::FileSource source;
    internal::ImageParser parser;
    bool failed = false;
  };

  Fd file_;
  ImageSummary summary_;
  std::uint32_t checksum_ = 0;
  bool keeps_;
  std::uint64_t keep_bytes_;
  std::vector<ImageEntry> kept_;  // all of them, with keeps_
  std::size_t at_ = 0;            // in these
  std::unique_ptr<Pass> pass_;    // without; null: at the beginning
};

ImageReader::ImageReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
ImageReader::ImageReader(ImageReader&&) noexcept = default;
ImageReader& ImageReader::operator=(ImageReader&&) noexcept = default;
ImageReader::~ImageReader() = default;

Result<ImageReader> ImageReader::open(const std::string& path, const ImageReaderOptions& options) {
  return internal::no_throw([&]() -> Result<ImageReader> {
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!fd) return Error{errno, "open(\"" + path + "\", O_RDONLY)"};
    return from_descriptor(fd.get(), options);
  });
}

Result<ImageReader> ImageReader::from_descriptor(int fd, const ImageReaderOptions& options) {
  return internal::no_throw([&]() -> Result<ImageReader> {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return Error{errno, "fstat(" + std::to_string(fd) + ")"};
    if (S_ISREG(status.st_mode)) {
      Fd file(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
      if (!file) return Error{errno, "fcntl(" + std::to_string(fd) + ", F_DUPFD_CLOEXEC)"};
      const bool small = static_cast<std::uint64_t>(status.st_size) <= options.keep_bytes;
      auto state = std::make_unique<State>(std::move(file), small ? options : ImageReaderOptions{});
      SOCKREPAIR_TRY(state->check());
      return ImageReader(std::move(state));
    }
    SOCKREPAIR_TRY_ASSIGN(Fd file, internal::open_unnamed_file());
    auto state = std::make_unique<State>(std::move(file), options);
    SOCKREPAIR_TRY(state->copy_and_check(fd));
    return ImageReader(std::move(state));
  });
}

const ImageSummary& ImageReader::summary() const {
  return state_->summary();
}

Result<std::optional<ImageEntry>> ImageReader::next() {
  return internal::no_throw([&] { return state_->next(); });
}

void ImageReader::rewind() {
  state_->rewind();
}

}  // namespace sockrepair
