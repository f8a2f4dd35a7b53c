// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TOOLS_HAND_OVER_H_
#define SOCKREPAIR_TOOLS_HAND_OVER_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "sockrepair/fd.h"
#include "sockrepair/image.h"
#include "sockrepair/result.h"
#include "whole_socket.h"

// Ways to give restored sockets to a program.
namespace sockrepair::tool {

struct HandedSocket {
  Fd fd;
  const char* protocol = "";  // "udp" or "tcp"
  // What the process it was dumped from had it under, by ascending number.
  std::vector<ImageDescriptor> descriptors;
  std::string local;  // "127.0.0.1:53", "-" when unbound
  std::string peer;   // "-" when not connected
  // Of a connection, what is left to do for it: it is in repair mode, and closing it sends nothing.
  std::optional<internal::TcpRest> rest;
};

// Brings connections to life. Called at the last moment at which it can still fail.
using LetPass = std::function<Result<void>(const std::vector<HandedSocket>&)>;

// Whether descriptors of this process may have the numbers 0 to `highest`, with `more` others at
// the same time; raises the soft limit if that is in the way. EMFILE: the hard limit is.
Result<void> make_room(int highest, std::size_t more);

// Gives `fd` a number above `highest`, where no socket is going to be put.
Result<void> move_above(int highest, Fd* fd);

// Replaces this program by `program`, which finds the sockets under the numbers they had, or, with
// HandOver::kListenFds, from 3 on in the order given, as sd_listen_fds(3) expects. Everything else
// that is open and not inheritable is closed by that. Returns only on failure, and then complains
// on the stderr that was: kNoProgram or kCannotExecute. That there is no such program is found
// before `let_pass` is called; after it connections are closed such that the peer is told nothing.
int execute(std::vector<HandedSocket> sockets, HandOver how,
            const std::vector<std::string>& program, const LetPass& let_pass);

// Sends the sockets to whoever listens on the unix stream socket at `path` ("@NAME": abstract): one
// message each, with the descriptor and a line "udp NUMBERS LOCAL PEER", or "tcp ...", NUMBERS
// separated by commas or "-"; then, after `let_pass`, a line "end COUNT". Who does not read the
// last line has not got all. After an error connections end, also where they were sent to, such
// that the peer is told nothing.
Result<void> send_to(std::vector<HandedSocket> sockets, const std::string& path,
                     const LetPass& let_pass);

// Gives the sockets to process `pid`, under the numbers that they had, which must be free there
// (StoppedProcess::place()). It is stopped for the time; a process that was stopped before stays
// so. `make` makes the sockets. On an error it has none of them, and no peer was told anything.
Result<void> put_into(pid_t pid, const std::function<Result<std::vector<HandedSocket>>()>& make,
                      const LetPass& let_pass);

}  // namespace sockrepair::tool

#endif  // SOCKREPAIR_TOOLS_HAND_OVER_H_
