// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// sockrepair restore: the sockets of an image, made again and handed over.

#include <errno.h>

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "command.h"
#include "hand_over.h"
#include "netns.h"
#include "open_image.h"
#include "progress.h"
#include "sockrepair/udp_socket.h"
#include "try.h"

namespace sockrepair::tool {

namespace {

// What has to be known of all sockets before the first is made.
struct Plan {
  std::set<std::uint64_t> namespaces;
  std::set<int> numbers;
  std::size_t sockets = 0;
};

class Restore {
 public:
  explicit Restore(const RestoreCommand& command) : command_(command) {}

  // Makes all sockets, or none. Leaves the calling thread in the namespace for a program.
  Result<void> run();

  std::vector<HandedSocket> take() { return std::move(made_); }
  const std::vector<std::string>& losses() const { return losses_; }
  int status() const { return status_; }

 private:
  // Reads the next socket of the image; nothing at the end.
  Result<std::optional<ImageSocket>> next_socket();
  Result<Plan> plan();
  Result<void> check(const Plan& plan);
  Result<void> make(const ImageSocket& socket);

  const RestoreCommand& command_;
  std::optional<ImageReader> reader_;
  NetnsMap netns_;
  std::vector<HandedSocket> made_;
  std::vector<std::string> losses_;
  int status_ = kFailed;
};

std::string endpoint_text(const std::optional<Endpoint>& endpoint) {
  return endpoint ? endpoint->to_string() : "-";
}

// "descriptor 5 (0.0.0.0:53)"
std::string subject_of(const ImageSocket& socket) {
  std::string number =
      socket.descriptors.empty() ? "?" : std::to_string(socket.descriptors.front().number);
  return "descriptor " + number + " (" + endpoint_text(socket.socket.local) + ")";
}

Result<std::optional<ImageSocket>> Restore::next_socket() {
  for (;;) {
    Result<std::optional<ImageEntry>> entry = reader_->next();
    if (!entry) {
      status_ = image_status(entry.error());
      return entry.error();
    }
    if (!*entry) return std::optional<ImageSocket>();
    if (auto* socket = std::get_if<ImageSocket>(&**entry))
      return std::optional<ImageSocket>(std::move(*socket));
  }
}

Result<Plan> Restore::plan() {
  Plan plan;
  for (;;) {
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageSocket> socket, next_socket());
    if (!socket) break;
    ++plan.sockets;
    plan.namespaces.insert(socket->socket.netns_cookie);
    if (command_.hand_over != HandOver::kSameNumbers) continue;
    if (socket->descriptors.empty()) {
      return Error{EBADF, "socket " + std::to_string(plan.sockets) +
                              " of the image has no descriptor number; use --listen-fds or "
                              "--send-to"};
    }
    for (const ImageDescriptor& descriptor : socket->descriptors) {
      if (!plan.numbers.insert(descriptor.number).second) {
        return Error{EEXIST, "descriptor " + std::to_string(descriptor.number) +
                                 " is there twice, from two processes; use --listen-fds or "
                                 "--send-to"};
      }
    }
  }
  reader_->rewind();
  return plan;
}

Result<void> Restore::check(const Plan& plan) {
  if (plan.sockets == 0) return Error{ENODATA, "the image has no socket"};
  SOCKREPAIR_TRY(netns_.check(plan.namespaces));
  constexpr int kStandard = 2;  // stderr, and with it the others, keep their place
  int highest = plan.numbers.empty() ? kStandard : std::max(kStandard, *plan.numbers.rbegin());
  std::size_t more = plan.sockets;
  if (command_.hand_over == HandOver::kListenFds) more += plan.sockets;
  return make_room(highest, more);
}

Result<void> Restore::make(const ImageSocket& socket) {
  SOCKREPAIR_TRY(netns_.enter(socket.socket.netns_cookie));
  UdpRestoreOptions options;
  options.refusal = Refusal::kReport;
  Result<RestoredSocket> restored = restore_udp_socket(socket.socket, options);
  if (!restored) {
    return Error{restored.error().code, subject_of(socket) + ": " + restored.error().what};
  }
  for (const Loss& loss : restored->losses)
    losses_.push_back(subject_of(socket) + ": " + loss.describe());
  HandedSocket made{std::move(restored->fd),
                    {},
                    endpoint_text(socket.socket.local),
                    endpoint_text(socket.socket.peer)};
  for (const ImageDescriptor& descriptor : socket.descriptors)
    made.numbers.push_back(descriptor.number);
  made_.push_back(std::move(made));
  return {};
}

Result<void> Restore::run() {
  Result<ImageReader> reader = open_image(command_.file);
  if (!reader) {
    status_ = image_status(reader.error());
    return reader.error();
  }
  reader_.emplace(*std::move(reader));
  SOCKREPAIR_TRY_ASSIGN(netns_, NetnsMap::parse(command_.netns));
  SOCKREPAIR_TRY_ASSIGN(Plan what, plan());
  SOCKREPAIR_TRY(check(what));

  // Those that share a port are bound in the order in which they were, the others as they come.
  std::vector<ImageSocket> later;
  Progress progress("sockets", what.sockets);
  for (;;) {
    SOCKREPAIR_TRY(check_signals());
    SOCKREPAIR_TRY_ASSIGN(std::optional<ImageSocket> socket, next_socket());
    if (!socket) break;
    if (socket->socket.reuseport_rank.value_or(0) != 0) {
      later.push_back(std::move(*socket));
      continue;
    }
    SOCKREPAIR_TRY(make(*socket));
    progress.advance();
  }
  std::stable_sort(later.begin(), later.end(), [](const ImageSocket& a, const ImageSocket& b) {
    return a.socket.reuseport_rank < b.socket.reuseport_rank;
  });
  for (const ImageSocket& socket : later) {
    SOCKREPAIR_TRY(check_signals());
    SOCKREPAIR_TRY(make(socket));
    progress.advance();
  }
  std::stable_sort(made_.begin(), made_.end(), [](const HandedSocket& a, const HandedSocket& b) {
    return a.numbers < b.numbers;
  });
  SOCKREPAIR_TRY(netns_.enter_default());
  if (command_.strict && !losses_.empty()) {
    status_ = kIncomplete;
    return Error{ENOTRECOVERABLE,
                 "--strict, and " + std::to_string(losses_.size()) + " things would be lost"};
  }
  return check_signals();
}

}  // namespace

int run_restore(const RestoreCommand& command) {
  catch_signals();
  Restore restore(command);
  Result<void> done = restore.run();
  for (const std::string& loss : restore.losses()) complain("lost: " + loss);
  if (!done) return fail(done.error(), restore.status());
  if (command.hand_over != HandOver::kSendTo)
    return execute(restore.take(), command.hand_over, command.program);
  Result<void> sent = send_to(restore.take(), command.path);
  return sent ? kDone : fail(sent.error());
}

}  // namespace sockrepair::tool
