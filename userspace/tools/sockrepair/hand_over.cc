// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "hand_over.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <sstream>

#include "sockrepair/process.h"
#include "sockrepair/syscall.h"
#include "try.h"

namespace sockrepair::tool {

namespace {

constexpr int kListenFdsStart = 3;  // SD_LISTEN_FDS_START
// The soft limit that this program was started with; what it starts shall have it again.
rlimit original_limit{RLIM_INFINITY, RLIM_INFINITY};
bool limit_raised = false;

// The sockets' descriptors under numbers above `highest`, where no dup2() to a wanted number hits
// one that is still needed.
Result<void> move_out_of_the_way(std::vector<HandedSocket>& sockets, int highest) {
  for (HandedSocket& socket : sockets) SOCKREPAIR_TRY(move_above(highest, &socket.fd));
  return {};
}

// dup2() leaves the new descriptor without CLOEXEC.
Result<void> give_number(const Fd& fd, int number) {
  if (::dup2(fd.get(), number) != number)
    return Error{errno, "dup2(" + std::to_string(fd.get()) + ", " + std::to_string(number) + ")"};
  return {};
}

Result<void> set_variable(const char* name, const std::string& value) {
  if (::setenv(name, value.c_str(), 1) != 0)
    return Error{errno, std::string("setenv(") + name + ")"};
  return {};
}

std::string join_numbers(const std::vector<ImageDescriptor>& descriptors, const char* separator) {
  std::string text;
  for (const ImageDescriptor& descriptor : descriptors)
    text += (text.empty() ? "" : separator) + std::to_string(descriptor.number);
  return text;
}

// The highest of all their numbers, at least that of stderr.
int highest_number(const std::vector<HandedSocket>& sockets) {
  int highest = STDERR_FILENO;
  for (const HandedSocket& socket : sockets)
    if (!socket.descriptors.empty())
      highest = std::max<int>(highest, socket.descriptors.back().number);
  return highest;
}

// Connections among them are in repair mode again, if not still.
void close_all_silently(std::vector<HandedSocket>& sockets) {
  for (HandedSocket& socket : sockets)
    if (socket.rest) close_silently(std::move(socket.fd));
}

Result<void> place(std::vector<HandedSocket>& sockets, HandOver how) {
  if (how == HandOver::kSameNumbers) {
    SOCKREPAIR_TRY(move_out_of_the_way(sockets, highest_number(sockets)));
    for (const HandedSocket& socket : sockets)
      for (const ImageDescriptor& descriptor : socket.descriptors)
        SOCKREPAIR_TRY(give_number(socket.fd, descriptor.number));
    return {};
  }
  SOCKREPAIR_TRY(
      move_out_of_the_way(sockets, kListenFdsStart + static_cast<int>(sockets.size()) - 1));
  std::string names;
  int number = kListenFdsStart;
  for (const HandedSocket& socket : sockets) {
    SOCKREPAIR_TRY(give_number(socket.fd, number++));
    names += names.empty() ? "" : ":";
    names += socket.protocol;
    if (!socket.descriptors.empty())
      names += "-" + std::to_string(socket.descriptors.front().number);
  }
  SOCKREPAIR_TRY(set_variable("LISTEN_FDS", std::to_string(sockets.size())));
  SOCKREPAIR_TRY(set_variable("LISTEN_PID", std::to_string(::getpid())));
  SOCKREPAIR_TRY(set_variable("LISTEN_FDNAMES", names));
  return {};
}

// Whether execvp(3) finds something to execute: the error that it would have.
Result<void> find_program(const std::string& name) {
  const Error none{ENOENT, "execvp(" + name + ")"};
  if (name.empty()) return none;
  auto check = [&](const std::string& path) -> Result<void> {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return Error{errno, none.what};
    if (S_ISDIR(status.st_mode) || ::access(path.c_str(), X_OK) != 0)
      return Error{EACCES, none.what};
    return {};
  };
  if (name.find('/') != std::string::npos) return check(name);
  const char* variable = ::getenv("PATH");
  std::istringstream directories(variable == nullptr ? "/bin:/usr/bin" : variable);
  Result<void> found = none;
  for (std::string directory; std::getline(directories, directory, ':');) {
    Result<void> here = check((directory.empty() ? "." : directory) + "/" + name);
    if (here) return here;
    if (here.error().code == EACCES) found = here;
  }
  return found;
}

Result<void> send_line(int to, const std::string& line, const Fd* descriptor) {
  iovec part{const_cast<char*>(line.data()), line.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor != nullptr) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    int number = descriptor->get();
    memcpy(CMSG_DATA(header), &number, sizeof(number));
  }
  SOCKREPAIR_TRY_ASSIGN(std::size_t sent, sys::sendmsg(to, message, MSG_NOSIGNAL));
  if (sent != line.size()) return Error{EINTR, "sendmsg() took a part of a line"};
  return {};
}

}  // namespace

Result<void> make_room(int highest, std::size_t more) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return Error{errno, "getrlimit(RLIMIT_NOFILE)"};
  // And a few that this program has open itself.
  constexpr rlim_t kOwn = 16;
  rlim_t needed = static_cast<rlim_t>(highest) + 1 + more + kOwn;
  if (needed <= limit.rlim_cur) return {};
  original_limit = limit;
  if (needed > limit.rlim_max) {
    return Error{EMFILE, "descriptors up to " + std::to_string(highest) + " and " +
                             std::to_string(more) + " more need a RLIMIT_NOFILE of " +
                             std::to_string(needed) + ", the hard limit is " +
                             std::to_string(limit.rlim_max)};
  }
  limit.rlim_cur = needed;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    return Error{errno, "setrlimit(RLIMIT_NOFILE, " + std::to_string(needed) + ")"};
  limit_raised = true;
  return {};
}

Result<void> move_above(int highest, Fd* fd) {
  Fd moved(::fcntl(fd->get(), F_DUPFD_CLOEXEC, highest + 1));
  if (!moved) return Error{errno, "fcntl(F_DUPFD_CLOEXEC, " + std::to_string(highest + 1) + ")"};
  *fd = std::move(moved);
  return {};
}

int execute(std::vector<HandedSocket> sockets, HandOver how,
            const std::vector<std::string>& program, const LetPass& let_pass) {
  // One of the sockets may be going to be descriptor 2.
  Fd complaints(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, highest_number(sockets) + 1));

  int status = kNoProgram;
  Result<void> done = find_program(program.front());
  if (done || done.error().code != ENOENT) status = kCannotExecute;
  if (done) done = place(sockets, how);
  if (done) {
    done = let_pass(sockets);
    if (!done) status = kFailed;
  }
  if (done) {
    if (limit_raised) ::setrlimit(RLIMIT_NOFILE, &original_limit);
    std::vector<char*> words;
    for (const std::string& word : program) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    ::execvp(words[0], words.data());
    done = Error{errno, "execvp(" + program.front() + ")"};
  }
  close_all_silently(sockets);
  if (complaints) ::dup2(complaints.get(), STDERR_FILENO);
  return fail(done.error(), status);
}

Result<void> send_to(std::vector<HandedSocket> sockets, const std::string& path,
                     const LetPass& let_pass) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Error{ENAMETOOLONG, "--send-to " + path + ": 1 to " +
                                   std::to_string(sizeof(address.sun_path) - 1) + " bytes"};
  }
  memcpy(address.sun_path, path.data(), path.size());
  if (path.front() == '@') address.sun_path[0] = '\0';
  SOCKREPAIR_TRY_ASSIGN(Fd fd, sys::socket(AF_UNIX, SOCK_STREAM, 0));
  socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
    return Error{errno, "connect(" + path + ")"};

  std::size_t sent = 0;
  Result<void> result;
  for (const HandedSocket& socket : sockets) {
    std::string numbers = socket.descriptors.empty() ? "-" : join_numbers(socket.descriptors, ",");
    result = send_line(fd.get(),
                       std::string(socket.protocol) + " " + numbers + " " + socket.local + " " +
                           socket.peer + "\n",
                       &socket.fd);
    if (!result) break;
    ++sent;
  }
  if (result) result = let_pass(sockets);
  if (result) result = send_line(fd.get(), "end " + std::to_string(sent) + "\n", nullptr);
  if (!result) {
    close_all_silently(sockets);
    return Error{result.error().code, "--send-to " + path + ", which got " + std::to_string(sent) +
                                          " of " + std::to_string(sockets.size()) +
                                          " sockets and not the end: " + result.error().what};
  }
  return {};
}

Result<void> put_into(pid_t pid, const std::function<Result<std::vector<HandedSocket>>()>& make,
                      const LetPass& let_pass) {
  SOCKREPAIR_TRY_ASSIGN(Process process, Process::open(pid));
  SOCKREPAIR_TRY_ASSIGN(StoppedProcess stopped,
                        StoppedProcess::stop(process, {.signal_only = true}));
  // Whether it can be done, before anything is.
  SOCKREPAIR_TRY(stopped.close({}));
  SOCKREPAIR_TRY_ASSIGN(std::vector<HandedSocket> sockets, make());
  std::vector<PlacedDescriptor> placed;
  std::vector<int> numbers;
  for (const HandedSocket& socket : sockets) {
    for (const ImageDescriptor& descriptor : socket.descriptors) {
      placed.push_back(
          {socket.fd.get(), descriptor.number, descriptor.close_on_exec, descriptor.watches});
      numbers.push_back(descriptor.number);
    }
  }
  Result<void> done = stopped.place(placed);
  if (done) {
    done = let_pass(sockets);
    // The last of them is closed here.
    if (!done) static_cast<void>(stopped.close(numbers));
  }
  if (!done) {
    close_all_silently(sockets);
    return done;
  }
  return stopped.resume();
}

}  // namespace sockrepair::tool
