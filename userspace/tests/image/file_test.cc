// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Images and files: when a file is there, what it was before, pipes, and files that change.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "image/atomic_file.h"
#include "image/raw_image.h"
#include "image/sample.h"
#include "util/matchers.h"

namespace sockrepair::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

// An empty directory for the time of a test.
class ImageFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/image_test.XXXXXX";
    ASSERT_NE(::mkdtemp(path), nullptr);
    directory_ = path;
  }
  void TearDown() override {
    for (const std::string& name : names()) ::unlink(path(name).c_str());
    ::rmdir(directory_.c_str());
  }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  std::vector<std::string> names() const {
    std::vector<std::string> result;
    DIR* directory = ::opendir(directory_.c_str());
    while (const dirent* entry = ::readdir(directory)) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") result.push_back(name);
    }
    ::closedir(directory);
    return result;
  }

  std::string content(const std::string& name) const {
    std::ifstream in(path(name), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  void write_file(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
  }

  std::string directory_;
};

Result<void> add_all(ImageWriter* writer, const std::vector<ImageEntry>& entries) {
  for (const ImageEntry& entry : entries) {
    Result<void> added = std::visit([&](const auto& value) { return writer->add(value); }, entry);
    if (!added) return added;
  }
  return {};
}

Result<std::vector<ImageEntry>> read_all(ImageReader* reader) {
  std::vector<ImageEntry> entries;
  for (;;) {
    Result<std::optional<ImageEntry>> entry = reader->next();
    if (!entry) return entry.error();
    if (!*entry) return entries;
    entries.push_back(**std::move(entry));
  }
}

TEST_F(ImageFileTest, AppearsWithFinish) {
  write_file("x.img", "old");
  ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path("x.img")));
  EXPECT_THAT(add_all(&writer, full_sample()), IsOk());
  EXPECT_EQ(content("x.img"), "old");
  EXPECT_THAT(names(), ElementsAre("x.img"));
  EXPECT_THAT(writer.finish(), IsOk());
  EXPECT_EQ(content("x.img"), make_image(full_sample()).value());
  EXPECT_THAT(names(), ElementsAre("x.img"));
  EXPECT_THAT(writer.finish(), FailsWith(EALREADY));
  EXPECT_THAT(writer.add(ImageProcess{1, "", 0}), FailsWith(EALREADY));
}

TEST_F(ImageFileTest, IsForItsOwnerOnly) {
  mode_t mask = ::umask(0);
  write_file("x.img", "old");
  ::chmod(path("x.img").c_str(), 0666);
  ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path("x.img")));
  EXPECT_THAT(writer.finish(), IsOk());
  ::umask(mask);
  struct stat status {};
  ASSERT_EQ(::stat(path("x.img").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(ImageFileTest, UnfinishedLeavesNothing) {
  {
    ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path("x.img")));
    EXPECT_THAT(add_all(&writer, full_sample()), IsOk());
  }
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(ImageFileTest, FailedLeavesNothing) {
  write_file("x.img", "old");
  ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path("x.img")));
  EXPECT_THAT(writer.add(ImageSocket{}), FailsWith(EINVAL, HasSubstr("ProcessEntry before it")));
  EXPECT_THAT(writer.add(ImageProcess{1, "", 0}), FailsWith(ECANCELED));
  EXPECT_THAT(writer.finish(), FailsWith(ECANCELED));
  EXPECT_EQ(content("x.img"), "old");
  EXPECT_THAT(names(), ElementsAre("x.img"));
}

TEST_F(ImageFileTest, SymbolicLinkIsFollowed) {
  write_file("x.img", "old");
  ASSERT_EQ(::symlink("x.img", path("link").c_str()), 0);
  ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path("link")));
  EXPECT_THAT(writer.finish(), IsOk());
  EXPECT_THAT(names(), UnorderedElementsAre("x.img", "link"));
  struct stat status {};
  ASSERT_EQ(::lstat(path("link").c_str(), &status), 0);
  EXPECT_TRUE(S_ISLNK(status.st_mode));
  EXPECT_EQ(content("x.img"), make_image({}).value());
}

TEST_F(ImageFileTest, DanglingLinkIsRefused) {
  ASSERT_EQ(::symlink("nowhere", path("link").c_str()), 0);
  EXPECT_THAT(ImageWriter::create(path("link")), FailsWith(ENOENT, HasSubstr("link")));
}

TEST_F(ImageFileTest, DirectoryIsRefused) {
  EXPECT_THAT(ImageWriter::create(directory_), FailsWith(EISDIR));
  EXPECT_THAT(ImageWriter::create(path("no/x.img")), FailsWith(ENOENT));
  EXPECT_THAT(ImageWriter::create(""), FailsWith(ENOENT));
  EXPECT_THAT(ImageReader::open(directory_), FailsWith(EISDIR));
  EXPECT_THAT(ImageReader::open(path("x.img")), FailsWith(ENOENT, HasSubstr("x.img")));
}

TEST_F(ImageFileTest, FullDeviceIsAnError) {
  ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create("/dev/full"));
  EXPECT_THAT(add_all(&writer, full_sample()), IsOk());
  EXPECT_THAT(writer.finish(), FailsWith(ENOSPC));
}

TEST_F(ImageFileTest, RenameThatFailsLeavesNothing) {
  {
    ASSERT_OK_AND_ASSIGN(internal::AtomicFile file, internal::AtomicFile::create(path("x.img")));
    ASSERT_EQ(::mkdir(path("x.img").c_str(), 0700), 0);
    EXPECT_THAT(file.commit(), FailsWith(EISDIR));
  }
  EXPECT_THAT(names(), ElementsAre("x.img"));
  ::rmdir(path("x.img").c_str());
}

// Has open(2) with O_TMPFILE fail for the calling thread, as on a file system that does not know
// it.
bool forbid_unnamed_files() {
  constexpr std::uint32_t kTmpFileBit = O_TMPFILE & ~O_DIRECTORY;
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kTmpFileBit, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_F(ImageFileTest, WithoutUnnamedFiles) {
  std::thread([&] {
    ASSERT_TRUE(forbid_unnamed_files());
    {
      ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path("x.img")));
      EXPECT_THAT(names(), ElementsAre(StartsWith(".x.img.")));
    }
    EXPECT_THAT(names(), IsEmpty());
    ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path("x.img")));
    EXPECT_THAT(add_all(&writer, full_sample()), IsOk());
    EXPECT_THAT(writer.finish(), IsOk());
    EXPECT_THAT(names(), ElementsAre("x.img"));
    EXPECT_EQ(content("x.img"), make_image(full_sample()).value());
  }).join();
}

TEST_F(ImageFileTest, LongestName) {
  std::string name(255, 'n');
  ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path(name)));
  EXPECT_THAT(writer.finish(), IsOk());
  EXPECT_THAT(names(), ElementsAre(name));
}

TEST_F(ImageFileTest, ReadsAgain) {
  write_file("x.img", make_image(full_sample()).value());
  ASSERT_OK_AND_ASSIGN(ImageReader reader, ImageReader::open(path("x.img")));
  for (int time = 0; time < 2; ++time) {
    ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> entries, read_all(&reader));
    EXPECT_TRUE(entries == full_sample());
    ASSERT_OK_AND_ASSIGN(std::optional<ImageEntry> more, reader.next());
    EXPECT_FALSE(more.has_value());
    reader.rewind();
  }
}

// Keys of TCP-AO are for the owner alone, wherever they are written.
TEST_F(ImageFileTest, KeysGoToNobodyElse) {
  for (mode_t mode : {0600, 0640, 0604, 0620}) {
    Fd fd(::open(path("x.img").c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
    ASSERT_EQ(::fchmod(fd.get(), mode), 0);
    ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::to_descriptor(fd.get()));
    Result<void> added = add_all(&writer, tcp_sample());
    if (mode == 0600) {
      EXPECT_THAT(added, IsOk());
    } else {
      EXPECT_THAT(added, FailsWith(EACCES, HasSubstr("ao: has keys, and the file is of mode 06")));
      EXPECT_THAT(content("x.img"), Not(HasSubstr("\xde\xc0\xad\x0b")));
    }
  }
  // One without a name is nobody else's.
  Fd memory(::memfd_create("image", MFD_CLOEXEC));
  ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::to_descriptor(memory.get()));
  EXPECT_THAT(add_all(&writer, tcp_sample()), IsOk());
}

TEST_F(ImageFileTest, Summary) {
  std::string image = make_image(full_sample()).value();
  write_file("x.img", image);
  ASSERT_OK_AND_ASSIGN(ImageReader reader, ImageReader::open(path("x.img")));
  const ImageSummary want = {.major_version = 1,
                             .minor_version = 2,
                             .bytes = image.size(),
                             .records = 20,
                             .processes = 1,
                             .sockets = 2,
                             .datagrams = 5};
  EXPECT_TRUE(reader.summary() == want);
}

TEST_F(ImageFileTest, DescriptorKeepsItsPosition) {
  write_file("x.img", make_image(small_sample()).value());
  Fd fd(::open(path("x.img").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::lseek(fd.get(), 5, SEEK_SET), 5);
  ASSERT_OK_AND_ASSIGN(ImageReader reader, ImageReader::from_descriptor(fd.get()));
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 5);
  fd.reset();
  ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> entries, read_all(&reader));
  EXPECT_TRUE(entries == small_sample());
}

// Nothing is given out that was not checked, whatever happens to the file in between.
TEST_F(ImageFileTest, ChangedAfterTheCheck) {
  std::string image = make_image(full_sample()).value();
  std::string other = make_image(small_sample()).value();
  write_file("x.img", image);
  ASSERT_OK_AND_ASSIGN(ImageReader reader, ImageReader::open(path("x.img")));

  write_file("x.img", image.substr(0, 40));
  EXPECT_THAT(read_all(&reader), FailsWith(EBADMSG, HasSubstr("the image ends")));
  EXPECT_THAT(reader.next(), FailsWith(ECANCELED));

  reader.rewind();
  write_file("x.img", other);
  EXPECT_THAT(read_all(&reader), FailsWith(EBADMSG, HasSubstr("was changed meanwhile")));
}

TEST_F(ImageFileTest, KeptFromTheCheckOn) {
  const std::string image = make_image(full_sample()).value();
  for (const bool whole : {true, false}) {
    SCOPED_TRACE(whole);
    write_file("x.img", image);
    const std::uint64_t most = image.size() - (whole ? 0 : image.size() / 2);
    ASSERT_OK_AND_ASSIGN(ImageReader reader,
                         ImageReader::open(path("x.img"), {.keep_bytes = most}));
    ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> entries, read_all(&reader));
    EXPECT_TRUE(entries == full_sample());
    reader.rewind();
    write_file("x.img", make_image(small_sample()).value());
    Result<std::vector<ImageEntry>> again = read_all(&reader);
    if (!whole) {
      EXPECT_THAT(again, FailsWith(EBADMSG, HasSubstr("was changed meanwhile")));
      continue;
    }
    ASSERT_THAT(again, IsOk());
    EXPECT_TRUE(*again == full_sample()) << "what was checked";
    EXPECT_THAT(reader.next(), IsOkAndHolds(std::nullopt));
  }
}

// --- pipes

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) ::abort();
    read = Fd(ends[0]);
    write = Fd(ends[1]);
  }
  Fd read;
  Fd write;
};

TEST(ImagePipeTest, ThroughAPipe) {
  Pipe pipe;
  Result<void> written;
  std::thread other([&] {
    ImageWriter writer = ImageWriter::to_descriptor(pipe.write.get()).value();
    written = add_all(&writer, full_sample());
    if (written) written = writer.finish();
    pipe.write.reset();
  });
  Result<ImageReader> reader = ImageReader::from_descriptor(pipe.read.get());
  other.join();
  EXPECT_THAT(written, IsOk());
  ASSERT_TRUE(reader.ok()) << reader.error().describe();
  for (int time = 0; time < 2; ++time) {
    ASSERT_OK_AND_ASSIGN(std::vector<ImageEntry> entries, read_all(&*reader));
    EXPECT_TRUE(entries == full_sample());
    reader->rewind();
  }
}

TEST(ImagePipeTest, WriterThatGoesAway) {
  Pipe pipe;
  std::string image = make_image(small_sample()).value();
  ASSERT_EQ(::write(pipe.write.get(), image.data(), image.size() - 1),
            static_cast<ssize_t>(image.size() - 1));
  pipe.write.reset();
  EXPECT_THAT(ImageReader::from_descriptor(pipe.read.get()),
              FailsWith(EBADMSG, HasSubstr("the image ends")));
}

TEST(ImagePipeTest, MoreThanAnImage) {
  Pipe pipe;
  std::string image = make_image(small_sample()).value() + "x";
  ASSERT_EQ(::write(pipe.write.get(), image.data(), image.size()),
            static_cast<ssize_t>(image.size()));
  pipe.write.reset();
  EXPECT_THAT(ImageReader::from_descriptor(pipe.read.get()),
              FailsWith(EBADMSG, HasSubstr("behind the end record")));
}

// The check of a stream ends with the first wrong byte: nobody can fill the disk with one.
TEST(ImagePipeTest, EndlessStream) {
  Fd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(ImageReader::from_descriptor(zero.get()), FailsWith(EBADMSG, HasSubstr("magic")));
}

TEST(ImageDescriptorTest, Wrong) {
  EXPECT_THAT(ImageReader::from_descriptor(-1), FailsWith(EBADF));
  Fd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  EXPECT_THAT(ImageReader::from_descriptor(null.get()), FailsWith(EBADF));
  ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::to_descriptor(-1));
  EXPECT_THAT(writer.finish(), FailsWith(EBADF));
}

// One socket is in memory at a time, in writing and in reading.
TEST_F(ImageFileTest, ManySocketsTakeNoMoreMemory) {
  auto peak_kb = [] {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
      if (line.rfind("VmHWM:", 0) == 0) return std::stol(line.substr(6));
    return -1L;
  };
  constexpr int kSockets = 500;
  ReceivedDatagram datagram = std::get<UdpSocket>(std::get<ImageSocket>(full_sample()[1]).socket)
                                  .receive_queue.datagrams[0];
  datagram.gro_size.reset();
  datagram.checksum.reset();
  datagram.payload.assign(16384, 0x77);
  ImageSocket socket = std::get<ImageSocket>(small_sample()[1]);
  std::get<UdpSocket>(socket.socket).receive_queue.datagrams.assign(2, datagram);

  std::ofstream("/proc/self/clear_refs") << "5";  // begins VmHWM anew
  long before = peak_kb();
  ASSERT_GT(before, 0);
  {
    ASSERT_OK_AND_ASSIGN(ImageWriter writer, ImageWriter::create(path("x.img")));
    ASSERT_THAT(writer.add(ImageProcess{1, "", 0}), IsOk());
    for (int i = 0; i < kSockets; ++i) ASSERT_THAT(writer.add(socket), IsOk());
    ASSERT_THAT(writer.finish(), IsOk());
  }
  ASSERT_OK_AND_ASSIGN(ImageReader reader, ImageReader::open(path("x.img")));
  int sockets = 0;
  for (;;) {
    ASSERT_OK_AND_ASSIGN(std::optional<ImageEntry> entry, reader.next());
    if (!entry) break;
    sockets += std::holds_alternative<ImageSocket>(*entry) ? 1 : 0;
  }
  EXPECT_EQ(sockets, kSockets);
  EXPECT_GT(reader.summary().bytes, 15U << 20);
  EXPECT_LT(peak_kb() - before, 4096) << "an image of 16 MB";
}

}  // namespace
}  // namespace sockrepair::test
