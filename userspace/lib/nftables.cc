// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "nftables.h"

#include <errno.h>
#include <linux/close_range.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <string_view>
#include <system_error>
#include <utility>

#include "no_throw.h"
#include "shared_library.h"
#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::internal {

namespace {

constexpr char kLibrary[] = "libnftables.so.1";

// The functions of the library that are used.
struct Library {
  decltype(&::nft_ctx_new) ctx_new = nullptr;
  decltype(&::nft_ctx_free) ctx_free = nullptr;
  decltype(&::nft_ctx_buffer_output) buffer_output = nullptr;
  decltype(&::nft_ctx_buffer_error) buffer_error = nullptr;
  decltype(&::nft_ctx_get_error_buffer) get_error_buffer = nullptr;
  decltype(&::nft_run_cmd_from_buffer) run_cmd_from_buffer = nullptr;
};

// Held while the library is called: it keeps some of its state for all its contexts together.
std::mutex library_mutex;

Result<Library> load_library() {
  SOCKREPAIR_TRY_ASSIGN(SharedLibrary shared, SharedLibrary::open(kLibrary));
  Library library;
  SOCKREPAIR_TRY(shared.find("nft_ctx_new", library.ctx_new));
  SOCKREPAIR_TRY(shared.find("nft_ctx_free", library.ctx_free));
  SOCKREPAIR_TRY(shared.find("nft_ctx_buffer_output", library.buffer_output));
  SOCKREPAIR_TRY(shared.find("nft_ctx_buffer_error", library.buffer_error));
  SOCKREPAIR_TRY(shared.find("nft_ctx_get_error_buffer", library.get_error_buffer));
  SOCKREPAIR_TRY(shared.find("nft_run_cmd_from_buffer", library.run_cmd_from_buffer));
  return library;
}

// Leaves the descriptors of the process for an empty table of the calling thread's own, in which
// whoever writes to 0, 1 or 2 is told that nobody listens.
Result<void> leave_descriptors() {
  if (::syscall(SYS_close_range, 0U, ~0U, CLOSE_RANGE_UNSHARE) != 0)
    return Error{errno == ENOSYS ? EOPNOTSUPP : errno, "close_range(CLOSE_RANGE_UNSHARE)"};
  for (int i = 0; i < 3; ++i) {
    SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_UNIX, SOCK_DGRAM, 0));
    static_cast<void>(fd.release());
  }
  return {};
}

// Asks whether nf_tables is there and may be changed, as the library cannot: without a socket of
// this kind it ends the process.
class Probe {
 public:
  static Result<Probe> open() {
    Result<Fd> fd = sys::socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    if (!fd && (fd.error().code == EPROTONOSUPPORT || fd.error().code == EAFNOSUPPORT))
      return Error{EPROTONOSUPPORT, "the kernel has no nf_tables: " + fd.error().what};
    if (!fd) return fd.error();
    return Probe(*std::move(fd));
  }

  Result<void> ask() {
    struct {
      nlmsghdr header;
      nfgenmsg body;
    } question{};
    question.header.nlmsg_len = sizeof(question);
    question.header.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
    question.header.nlmsg_flags = NLM_F_REQUEST;
    iovec part{&question, sizeof(question)};
    msghdr sent{};
    sent.msg_iov = &part;
    sent.msg_iovlen = 1;
    SOCKREPAIR_TRY(sys::sendmsg(fd_.get(), sent, 0));

    struct {
      nlmsghdr header;
      int code;  // of NLMSG_ERROR, negative
      std::array<char, 1024> rest;
    } answer{};
    iovec room{&answer, sizeof(answer)};
    msghdr received{};
    received.msg_iov = &room;
    received.msg_iovlen = 1;
    SOCKREPAIR_TRY_ASSIGN(std::size_t size, sys::recvmsg(fd_.get(), received, MSG_DONTWAIT));
    if (size < sizeof(answer.header) + sizeof(answer.code))
      return Error{EPROTO, "NFT_MSG_GETGEN: answer is cut"};
    if (answer.header.nlmsg_type != NLMSG_ERROR || answer.code == 0) return {};
    // What nfnetlink says to a message for a part of netfilter that is not there.
    if (answer.code == -EINVAL)
      return Error{EPROTONOSUPPORT, "the kernel has no nf_tables: NFT_MSG_GETGEN is unknown"};
    return Error{-answer.code, "nf_tables, NFT_MSG_GETGEN"};
  }

 private:
  explicit Probe(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

// The library with its socket; made, used and ended in one thread.
class Context {
 public:
  static Result<Context> open() {
    SOCKREPAIR_TRY_ASSIGN(Probe probe, Probe::open());
    SOCKREPAIR_TRY(probe.ask());
    SOCKREPAIR_TRY_ASSIGN(Library library, load_library());
    Context context(std::move(probe), library);
    SOCKREPAIR_TRY(context.keep_quiet());
    return context;
  }

  Result<void> run(const std::string& commands) {
    // A right that was lost since.
    SOCKREPAIR_TRY(probe_.ask());
    std::lock_guard<std::mutex> guard(library_mutex);
    errno = 0;
    if (library_.run_cmd_from_buffer(nft_.get(), commands.c_str()) == 0) return {};
    // What the library leaves of it: of the kernel's refusal, or of its own last reading.
    const int code = errno == 0 || errno == EAGAIN ? EPROTO : errno;
    std::string_view said = library_.get_error_buffer(nft_.get());
    said = said.substr(0, said.find('\n'));
    constexpr std::string_view kPrefix = "Error: ";
    if (said.starts_with(kPrefix)) said.remove_prefix(kPrefix.size());
    return Error{code, "nf_tables: " + std::string(said)};
  }

 private:
  struct Free {
    decltype(&::nft_ctx_free) function;
    void operator()(nft_ctx* context) const {
      std::lock_guard<std::mutex> guard(library_mutex);
      function(context);
    }
  };

  Context(Probe probe, const Library& library)
      : probe_(std::move(probe)), library_(library), nft_(nullptr, Free{library.ctx_free}) {
    std::lock_guard<std::mutex> guard(library_mutex);
    nft_.reset(library.ctx_new(NFT_CTX_DEFAULT));
  }

  // What the library has to say goes into its buffers.
  Result<void> keep_quiet() {
    std::lock_guard<std::mutex> guard(library_mutex);
    if (library_.buffer_output(nft_.get()) != 0 || library_.buffer_error(nft_.get()) != 0)
      return Error{ENOMEM, "nft_ctx_buffer_output()"};
    return {};
  }

  Probe probe_;
  Library library_;
  std::unique_ptr<nft_ctx, Free> nft_;
};

Result<Context> open_context(int netns) {
  static_cast<void>(::prctl(PR_SET_NAME, "sockrepair-lock"));
  if (netns >= 0 && ::setns(netns, CLONE_NEWNET) != 0)
    return Error{errno, "setns(" + std::to_string(netns) + ", CLONE_NEWNET)"};
  SOCKREPAIR_TRY(leave_descriptors());
  return Context::open();
}

}  // namespace

Result<std::unique_ptr<Nftables>> Nftables::start(const Fd& netns) {
  std::unique_ptr<Nftables> nft(new Nftables());
  // The thread inherits the mask: signals of the process are for others.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    nft->thread_ = std::thread(&Nftables::serve, nft.get(), netns.get());
  } catch (const std::system_error&) {
    started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started) return Error{EAGAIN, "a thread for libnftables"};

  std::unique_lock<std::mutex> lock(nft->mutex_);
  Result<void> opened = nft->wait_for_answer(lock);
  lock.unlock();
  if (!opened) return opened.error();
  return nft;
}

Nftables::~Nftables() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> guard(mutex_);
    turn_ = Turn::kEnd;
  }
  turned_.notify_all();
  thread_.join();
}

Result<void> Nftables::run(const std::string& commands) {
  std::unique_lock<std::mutex> lock(mutex_);
  commands_ = commands;
  turn_ = Turn::kThread;
  turned_.notify_all();
  return wait_for_answer(lock);
}

void Nftables::forget(std::unique_ptr<Nftables> copy) {
  static_cast<void>(copy.release());
}

Result<void> Nftables::wait_for_answer(std::unique_lock<std::mutex>& lock) {
  turned_.wait(lock, [&] { return turn_ == Turn::kCaller; });
  return std::exchange(answer_, {});
}

void Nftables::serve(int netns) {
  Result<Context> context = no_throw([&] { return open_context(netns); });
  std::unique_lock<std::mutex> lock(mutex_);
  answer_ = context ? Result<void>() : context.error();
  for (;;) {
    turn_ = Turn::kCaller;
    turned_.notify_all();
    turned_.wait(lock, [&] { return turn_ != Turn::kCaller; });
    if (turn_ == Turn::kEnd) return;
    answer_ = no_throw([&] { return context->run(commands_); });
    commands_.clear();
  }
}

}  // namespace sockrepair::internal
