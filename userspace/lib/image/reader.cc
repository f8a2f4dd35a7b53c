// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <utility>

#include "image/parser.h"
#include "image/streams.h"
#include "no_throw.h"
#include "sockrepair/image.h"
#include "try.h"

namespace sockrepair {

namespace {

// Reads an image to its end.
Result<void> read_all(internal::ImageParser* parser) {
  SOCKREPAIR_TRY(parser->begin());
  std::optional<ImageEntry> entry;
  do {
    SOCKREPAIR_TRY(parser->next(&entry));
  } while (entry);
  return {};
}

}  // namespace

class ImageReader::State {
 public:
  // Of a regular file that was not looked at yet.
  explicit State(Fd file) : file_(std::move(file)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // What is in `source`, which gives the bytes of the file, or puts them there.
  Result<void> check(internal::ByteSource& source) {
    internal::ImageParser parser(source);
    SOCKREPAIR_TRY(read_all(&parser));
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

  void rewind() { pass_.reset(); }

 private:
  struct Pass {
    explicit Pass(int fd) : source(fd), parser(source) {}
    internal::FileSource source;
    internal::ImageParser parser;
    bool failed = false;
  };

  Fd file_;
  ImageSummary summary_;
  std::uint32_t checksum_ = 0;
  std::unique_ptr<Pass> pass_;  // null: at the beginning
};

ImageReader::ImageReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
ImageReader::ImageReader(ImageReader&&) noexcept = default;
ImageReader& ImageReader::operator=(ImageReader&&) noexcept = default;
ImageReader::~ImageReader() = default;

Result<ImageReader> ImageReader::open(const std::string& path) {
  return internal::no_throw([&]() -> Result<ImageReader> {
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!fd) return Error{errno, "open(\"" + path + "\", O_RDONLY)"};
    return from_descriptor(fd.get());
  });
}

Result<ImageReader> ImageReader::from_descriptor(int fd) {
  return internal::no_throw([&]() -> Result<ImageReader> {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return Error{errno, "fstat(" + std::to_string(fd) + ")"};
    if (S_ISREG(status.st_mode)) {
      Fd file(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
      if (!file) return Error{errno, "fcntl(" + std::to_string(fd) + ", F_DUPFD_CLOEXEC)"};
      auto state = std::make_unique<State>(std::move(file));
      SOCKREPAIR_TRY(state->check());
      return ImageReader(std::move(state));
    }
    SOCKREPAIR_TRY_ASSIGN(Fd file, internal::open_unnamed_file());
    auto state = std::make_unique<State>(std::move(file));
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
